/* Return ln(x) for x > 0: ln(m * 2^e) = 2 artanh((m - 1) / (m + 1)) + e ln 2, 1/2 <= m <= 1. */
static double natural_logarithm(double x)
{
    double exponent = 0.0;
    double sum = 0.0;
    double ratio, power;
    int n;

    while (x > 1.0) {
        x /= 2.0;
        exponent += 1.0;
    }
    while (x < 0.5) {
        x *= 2.0;
        exponent -= 1.0;
    }
    ratio = (x - 1.0) / (x + 1.0);
    power = ratio;
    for (n = 1; n < 36; n += 2) { /* further terms are below (1/3)^36, less than the last bit */
        sum += power / n;
        power *= ratio * ratio;
    }
    return 2.0 * sum + exponent * 0.6931471805599453;
}

/* Return false if the image is blank or its score in the rejection model is below the threshold.
 * The Python version of this model is in runtime/model/rejection.py.
 *
 * score = output . max(0, weights . ink + bias) + logit weight * ln(c / (1 - c))
 * ink: the mean of each square of 2 x 2 pixels in rows 4 to 23, from 0 to 1
 * c: the confidence, limited to 0.9999 */
static bool is_accepted(const uint8_t *pixels, float confidence)
{
    const double limited = confidence > 0.9999 ? 0.9999 : (double)confidence;
    double score = REJECTION_LOGIT_WEIGHT * natural_logarithm(limited / (1.0 - limited));
    int neuron, row, column;

    if (is_blank(pixels)) {
        return false;
    }
    for (neuron = 0; neuron < REJECTION_NEURONS; neuron++) {
        const int8_t *weight = rejection_weights + neuron * 10 * 14;
        int32_t sum = 0;
        double activation;

        for (row = 4; row < 24; row += 2) {
            for (column = 0; column < 28; column += 2) {
                const uint8_t *corner = pixels + row * 28 + column;

                sum += *weight++ * (corner[0] + corner[1] + corner[28] + corner[29]);
            }
        }
        /* Divide by the sum of four pixels of 255, which is an ink of 1. */
        activation = sum * rejection_scales[neuron] / (4.0 * 255.0) + rejection_biases[neuron];
        if (activation > 0.0) {
            score += activation * rejection_outputs[neuron];
        }
    }
    return score >= REJECTION_THRESHOLD;
}
