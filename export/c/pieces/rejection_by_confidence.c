/* Return whether the image is one of the classes: the confidence alone decides. */
static bool is_accepted(const uint8_t *pixels, float confidence)
{
    return !is_blank(pixels) && (double)confidence >= CONFIDENCE_THRESHOLD;
}
