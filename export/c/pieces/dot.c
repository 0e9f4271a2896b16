/* Return the sum of weights[i] * values[i]. */
static int32_t dot(const int8_t *weights, const uint8_t *values, int count)
{
    int32_t sum = 0;
    int i;

    for (i = 0; i < count; i++) {
        sum += weights[i] * values[i];
    }
    return sum;
}
