/* A ReLU or ReLU6 as a separate layer: clip all bytes to the range `least` to `most`. */
struct limits {
    int size;
    uint8_t least;
    uint8_t most;
};

static void limit(const struct limits *layer, const uint8_t *input, uint8_t *output)
{
    int i;

    for (i = 0; i < layer->size; i++) {
        output[i] = input[i] < layer->least ? layer->least
                    : input[i] > layer->most ? layer->most
                                             : input[i];
    }
}
