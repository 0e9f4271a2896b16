/* A depthwise convolution without padding, followed by a max pooling (1 x 1 if the layer has no
 * pooling). Each output channel is computed from one input channel. */
struct depthwise_convolution {
    struct shape input;
    struct shape output;
    struct window kernel;
    struct window stride;
    struct window pool;
    const int8_t *weights; /* [row][column][output channel] */
    const int32_t *biases; /* they include the zero point of the input */
    struct requantization requantization;
};

static void convolve_depthwise(const struct depthwise_convolution *layer, const uint8_t *input,
                               uint8_t *output)
{
    const int inputs = layer->input.channels;
    const int outputs = layer->output.channels;
    const int pitch = layer->input.width * inputs; /* bytes per row of the input */
    int y, x, channel, down, across, row, column;

    for (y = 0; y < layer->output.height; y++) {
        for (x = 0; x < layer->output.width; x++) {
            for (channel = 0; channel < outputs; channel++) {
                const uint8_t *plane = input + channel * inputs / outputs;
                int32_t largest = INT32_MIN;

                for (down = 0; down < layer->pool.height; down++) {
                    for (across = 0; across < layer->pool.width; across++) {
                        const int top = (y * layer->pool.height + down) * layer->stride.height;
                        const int left = (x * layer->pool.width + across) * layer->stride.width;
                        const uint8_t *corner = plane + top * pitch + left * inputs;
                        const int8_t *weight = layer->weights + channel;
                        int32_t sum = layer->biases[channel];

                        for (row = 0; row < layer->kernel.height; row++) {
                            for (column = 0; column < layer->kernel.width; column++) {
                                sum += *weight * corner[row * pitch + column * inputs];
                                weight += outputs;
                            }
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
