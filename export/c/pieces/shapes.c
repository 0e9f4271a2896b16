/* The size of an image, stored as [row][column][channel]. */
struct shape {
    int height;
    int width;
    int channels;
};

/* A kernel, a pooling window, or the step from one to the next. */
struct window {
    int height;
    int width;
};
