/* Update a CRC-32 (ISO 3309) with one byte. */
static uint32_t crc_of_byte(uint32_t crc, uint8_t byte)
{
    int bit;

    crc ^= byte;
    for (bit = 0; bit < 8; bit++) {
        crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    return crc;
}

/* Update a CRC-32 with an array of bytes. */
static uint32_t crc_of_bytes(uint32_t crc, const int8_t *bytes, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        crc = crc_of_byte(crc, (uint8_t)bytes[i]);
    }
    return crc;
}

/* Update a CRC-32 with an array of 32-bit numbers, lowest byte first on every device. */
static uint32_t crc_of_words(uint32_t crc, const uint32_t *words, int count)
{
    int i, shift;

    for (i = 0; i < count; i++) {
        for (shift = 0; shift < 32; shift += 8) {
            crc = crc_of_byte(crc, (uint8_t)(words[i] >> shift));
        }
    }
    return crc;
}
