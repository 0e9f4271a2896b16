/* Return whether all pixels are equal. Such a blank image is always rejected. */
static bool is_blank(const uint8_t *pixels)
{
    int i;

    for (i = 1; i < DIGITS_PIXELS; i++) {
        if (pixels[i] != pixels[0]) {
            return false;
        }
    }
    return true;
}
