/* Cropping: skip `top` rows and `left` columns, then copy an image of the output's size. */
struct cropping {
    struct shape input;
    struct shape output;
    int top;
    int left;
};

static void crop(const struct cropping *layer, const uint8_t *input, uint8_t *output)
{
    const int channels = layer->input.channels;
    const int pitch = layer->input.width * channels; /* bytes per row of the input */
    const int run = layer->output.width * channels;  /* bytes per row of the output */
    int y, i;

    for (y = 0; y < layer->output.height; y++) {
        const uint8_t *row = input + (layer->top + y) * pitch + layer->left * channels;

        for (i = 0; i < run; i++) {
            *output++ = row[i];
        }
    }
}
