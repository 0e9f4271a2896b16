/* The size of an image, stored as [row][column][channel]. */
struct shape {
    int height;
    int width;
    int channels;
};

/* The size of a kernel or of a pooling window, or a stride, in pixels. */
struct window {
    int height;
    int width;
};
