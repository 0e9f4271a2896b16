/* A convolution without padding, followed by a max pooling (1 x 1 if the layer has no pooling).
 * Images are stored as [row][column][channel]. */
struct convolution {
    struct shape input;
    struct shape output;
    struct window kernel;
    struct window stride;
    struct window pool;
    const int8_t *weights; /* [output channel][row][column][input channel] */
    const int32_t *biases; /* they include the zero point of the input */
    struct requantization requantization;
};

/* Convolve, and requantize the largest sum of each pooling window. Requantization is monotone, so
 * the result equals max pooling of requantized bytes. */
static void convolve(const struct convolution *layer, const uint8_t *input, uint8_t *output)
{
    const int channels = layer->input.channels;
    const int pitch = layer->input.width * channels;       /* bytes per row of the input */
    const int run = layer->kernel.width * channels;        /* weights per row of the kernel */
    const int kernel_size = layer->kernel.height * run;
    int y, x, channel, down, across, row;

    for (y = 0; y < layer->output.height; y++) {
        for (x = 0; x < layer->output.width; x++) {
            for (channel = 0; channel < layer->output.channels; channel++) {
                const int8_t *weights = layer->weights + channel * kernel_size;
                int32_t largest = INT32_MIN;

                for (down = 0; down < layer->pool.height; down++) {
                    for (across = 0; across < layer->pool.width; across++) {
                        const int top = (y * layer->pool.height + down) * layer->stride.height;
                        const int left = (x * layer->pool.width + across) * layer->stride.width;
                        const uint8_t *corner = input + top * pitch + left * channels;
                        int32_t sum = layer->biases[channel];

                        for (row = 0; row < layer->kernel.height; row++) {
                            sum += dot(weights + row * run, corner + row * pitch, run);
                        }
                        if (sum > largest) {
                            largest = sum;
                        }
                    }
                }
                *output++ = requantize(&layer->requantization, channel, largest);
            }
        }
    }
}
