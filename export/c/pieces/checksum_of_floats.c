/* Update a CRC-32 with an array of floats, lowest byte first. */
static uint32_t crc_of_floats(uint32_t crc, const float *values, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        union {
            float value;
            uint32_t bits;
        } word;

        word.value = values[i];
        crc = crc_of_words(crc, &word.bits, 1);
    }
    return crc;
}
