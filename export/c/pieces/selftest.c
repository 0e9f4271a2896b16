/* Return the CRC-32 of all parameters of the model. */
static uint32_t crc_of_parameters(void)
{
    uint32_t crc = 0xFFFFFFFFu;

    /* PARAMETERS */
    return ~crc;
}

int digits_selftest(uint8_t workspace[DIGITS_WORKSPACE_BYTES])
{
    digits_result result;
    int image, n;

    if (crc_of_parameters() != PARAMETERS_CRC) {
        return DIGITS_SELFTEST_DAMAGED;
    }
    for (image = 0; image < GOLDEN_IMAGES; image++) {
        digits_classify(golden_pixels[image], workspace, &result);
        for (n = 0; n < DIGITS_CLASSES; n++) {
            if (result.scores[n] != golden_scores[image][n]) {
                return image + 1;
            }
        }
    }
    return 0;
}
