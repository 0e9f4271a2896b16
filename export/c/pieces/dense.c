/* A fully connected layer. */
struct dense {
    int inputs;
    int outputs;
    const int8_t *weights; /* [output][input] */
    const int32_t *biases; /* they include the zero point of the input */
    struct requantization requantization;
};

static void apply_dense(const struct dense *layer, const uint8_t *input, uint8_t *output)
{
    int n;

    for (n = 0; n < layer->outputs; n++) {
        const int8_t *weights = layer->weights + n * layer->inputs;
        const int32_t sum = layer->biases[n] + dot(weights, input, layer->inputs);

        output[n] = requantize(&layer->requantization, n, sum);
    }
}
