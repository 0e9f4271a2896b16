/* Pooling over windows. top and left are the rows and columns that padding "same" adds above and
 * to the left of the image; what a window covers outside of the image does not count. */
struct pooling {
    struct shape input;
    struct shape output;
    struct window window;
    struct window stride;
    int top;
    int left;
    uint8_t least; /* limits of the output, by a ReLU in the same layer */
    uint8_t most;
};

static int clamp(int value, int least, int most)
{
    return value < least ? least : value > most ? most : value;
}
