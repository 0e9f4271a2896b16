/* Return sum / count, rounded as TensorFlow Lite rounds the mean of int8 values. Halves are rounded
 * away from the int8 value 0, which is the byte 128. */
static int mean(int sum, int count)
{
    const int signed_sum = sum - 128 * count;
    const int half = signed_sum > 0 ? count / 2 : -(count / 2);

    return (signed_sum + half) / count + 128;
}

static void pool_average(const struct pooling *layer, const uint8_t *input, uint8_t *output)
{
    const struct shape size = layer->input;
    int y, x, channel, row, column;

    for (y = 0; y < layer->output.height; y++) {
        const int top = y * layer->stride.height - layer->top;
        const int first_row = clamp(top, 0, size.height);
        const int end_row = clamp(top + layer->window.height, 0, size.height);

        for (x = 0; x < layer->output.width; x++) {
            const int left = x * layer->stride.width - layer->left;
            const int first_column = clamp(left, 0, size.width);
            const int end_column = clamp(left + layer->window.width, 0, size.width);
            const int count = (end_row - first_row) * (end_column - first_column);

            for (channel = 0; channel < size.channels; channel++) {
                int sum = 0;

                for (row = first_row; row < end_row; row++) {
                    for (column = first_column; column < end_column; column++) {
                        sum += input[(row * size.width + column) * size.channels + channel];
                    }
                }
                *output++ = (uint8_t)clamp(mean(sum, count), layer->least, layer->most);
            }
        }
    }
}
