/* Softmax by look-up table. The index of a numerator is the number of quantization steps by which a
 * logit is below the largest logit. Numerators are integers with an exact sum in float32, so every
 * device computes the same scores. */
static void softmax(const uint8_t *logits, float *scores)
{
    uint8_t largest = 0;
    uint32_t total = 0;
    float reciprocal;
    int n;

    for (n = 0; n < DIGITS_CLASSES; n++) {
        if (logits[n] > largest) {
            largest = logits[n];
        }
    }
    for (n = 0; n < DIGITS_CLASSES; n++) {
        total += softmax_numerators[largest - logits[n]];
    }
    reciprocal = 1.0f / (float)total;
    for (n = 0; n < DIGITS_CLASSES; n++) {
        scores[n] = (float)softmax_numerators[largest - logits[n]] * reciprocal;
    }
}
