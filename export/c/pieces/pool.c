/* Maximum or average pooling. `top` and `left` are the rows and columns that padding "same" adds
 * above and to the left of the image. Padded pixels are ignored. */
struct pooling {
    struct shape input;
    struct shape output;
    struct window window;
    struct window stride;
    int top;
    int left;
    uint8_t least; /* smallest byte of the output; not 0 if a ReLU is fused into the layer */
    uint8_t most;  /* largest byte of the output; less than 255 with a fused ReLU6 */
};

static int clamp(int value, int least, int most)
{
    return value < least ? least : value > most ? most : value;
}
