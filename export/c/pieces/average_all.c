/* Global average pooling: the mean of each channel over the whole image, requantized. */
struct global_average {
    struct shape input;
    struct shape output;
    int32_t zero; /* the byte of the input that represents 0 */
    struct requantization requantization;
};

static void average_all(const struct global_average *layer, const uint8_t *input, uint8_t *output)
{
    const int pixels = layer->input.height * layer->input.width;
    const int channels = layer->input.channels;
    int channel, i;

    for (channel = 0; channel < channels; channel++) {
        int32_t sum = -pixels * layer->zero;

        for (i = 0; i < pixels; i++) {
            sum += input[i * channels + channel];
        }
        output[channel] = requantize(&layer->requantization, 0, sum);
    }
}
