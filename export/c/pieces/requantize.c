/* Return value / 2^shift, rounded to the nearest integer, ties to even. 0 < shift < 64. */
static uint64_t shift_right(uint64_t value, int shift)
{
    const uint64_t half = (uint64_t)1 << (shift - 1);
    const uint64_t rest = value & (2 * half - 1);
    const uint64_t whole = value >> shift;

    return whole + (rest > half || (rest == half && (whole & 1)));
}

/* Return the number of bits without leading zeros: 0 for 0, 1 for 1, 2 for 2 and 3. */
static int bit_length(uint32_t value)
{
    int length = 0;
    int step;

    for (step = 16; step > 0; step /= 2) {
        if (value >> step) {
            value >>= step;
            length += step;
        }
    }
    return length + (value != 0);
}

/* Return float32(sum) * scale, rounded to the nearest integer, ties to even, within +-65535. This
 * is XNNPACK's requantization "fp32" (src/qs8-gemm and src/qs8-requantization). LiteRT uses it on
 * x86 and Arm.
 *
 * The function computes in integers. Therefore the result does not depend on an FPU, on fused
 * multiply-add or on -ffast-math. As in float32, the function rounds three times: the sum to 24
 * bits, the product to 24 bits, and the product to an integer.
 *
 * scale: the bits of a float32 from 2^-32 to less than 2^8. */
static int32_t multiply_by_scale(int32_t sum, uint32_t scale)
{
    const uint32_t mantissa = (scale & 0x7FFFFF) | 0x800000;
    int exponent = (int)(scale >> 23) - 150; /* scale = mantissa * 2^exponent */
    uint64_t magnitude = sum < 0 ? 0u - (uint32_t)sum : (uint32_t)sum;
    int length = bit_length((uint32_t)magnitude);

    if (length > 24) { /* float32(sum) */
        magnitude = shift_right(magnitude, length - 24);
        exponent += length - 24;
        length = 24;
    }
    magnitude *= mantissa;
    length += 23;
    length += (int)(magnitude >> length); /* 24 bits times n bits are n + 23 or n + 24 bits */
    if (length > 24) { /* float32(product) */
        magnitude = shift_right(magnitude, length - 24);
        exponent += length - 24;
    }
    magnitude = exponent < 0 ? shift_right(magnitude, -exponent) : magnitude << exponent;
    if (magnitude > 0xFFFF) {
        magnitude = 0xFFFF; /* any number beyond 256 gives the same byte after clipping */
    }
    return sum < 0 ? -(int32_t)magnitude : (int32_t)magnitude;
}

/* The conversion of the sums of a layer to the bytes of the output. */
struct requantization {
    const uint32_t *scales; /* per channel: bits of input scale * weight scale / output scale */
    int32_t zero;           /* the byte that represents 0 */
    int32_t least;          /* the smallest byte of the output; `zero` if a ReLU is fused */
    int32_t most;           /* the largest byte of the output */
};

/* Convert a sum to a byte. `channel` is the index of the scale. */
static uint8_t requantize(const struct requantization *rule, int channel, int32_t sum)
{
    const int32_t code = multiply_by_scale(sum, rule->scales[channel]) + rule->zero;

    return (uint8_t)(code < rule->least ? rule->least : code > rule->most ? rule->most : code);
}
