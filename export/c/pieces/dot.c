/* The function `dot` is not inlined. If it is inlined, GCC -Os keeps the variables of the loops in
 * memory, and the program needs 1.7 times the instructions on a Cortex-M. */
#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

/* Return the sum of weights[i] * values[i]. */
static NOINLINE int32_t dot(const int8_t *weights, const uint8_t *values, int count)
{
    int32_t sum = 0;
    int i;

    for (i = 0; i < count; i++) {
        sum += weights[i] * values[i];
    }
    return sum;
}
