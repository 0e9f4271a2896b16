/* Return false if the image is blank or the confidence is below the threshold. */
static bool is_accepted(const uint8_t *pixels, float confidence)
{
    return !is_blank(pixels) && (double)confidence >= CONFIDENCE_THRESHOLD;
}
