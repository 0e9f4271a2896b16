static void pool_max(const struct pooling *layer, const uint8_t *input, uint8_t *output)
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

            for (channel = 0; channel < size.channels; channel++) {
                int largest = 0;

                for (row = first_row; row < end_row; row++) {
                    for (column = first_column; column < end_column; column++) {
                        const int at = (row * size.width + column) * size.channels + channel;

                        if (input[at] > largest) {
                            largest = input[at];
                        }
                    }
                }
                *output++ = (uint8_t)clamp(largest, layer->least, layer->most);
            }
        }
    }
}
