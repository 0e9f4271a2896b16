/* Padding: add rows and columns of zeros around an image. */
struct padding {
    struct shape input;
    struct shape output;
    int top;
    int left;
    uint8_t zero; /* the byte that represents 0 */
};

static void pad(const struct padding *layer, const uint8_t *input, uint8_t *output)
{
    const struct shape size = layer->input;
    int y, x, channel;

    for (y = 0; y < layer->output.height; y++) {
        for (x = 0; x < layer->output.width; x++) {
            const int row = y - layer->top;
            const int column = x - layer->left;
            const bool inside = row >= 0 && row < size.height && column >= 0
                                && column < size.width;

            for (channel = 0; channel < size.channels; channel++) {
                *output++ = inside ? input[(row * size.width + column) * size.channels + channel]
                                   : layer->zero;
            }
        }
    }
}
