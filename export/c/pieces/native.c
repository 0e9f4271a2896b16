#ifdef DIGIT_EDGE_KERNELS
#define READ_AHEAD 4 /* the faster functions read up to 3 bytes after the end of their input */

const int digit_edge_pixels = DIGITS_PIXELS;
const int digit_edge_classes = DIGITS_CLASSES;
const char digit_edge_compiler[] = __VERSION__;

/* Compute the scores of `count` images for the engine "native". */
void digit_edge_scores(const uint8_t *pixels, int count, float *scores)
{
    uint8_t workspace[DIGITS_WORKSPACE_BYTES + READ_AHEAD];
    uint8_t image[DIGITS_PIXELS + READ_AHEAD];
    int n;

    for (n = 0; n < count; n++) {
        memcpy(image, pixels + n * DIGITS_PIXELS, DIGITS_PIXELS);
        softmax(run_network(image, workspace), scores + n * DIGITS_CLASSES);
    }
}
#endif
