#ifdef DIGIT_EDGE_KERNELS
#define READ_AHEAD 4 /* the faster functions read up to 3 bytes after the end of their input */

const int digit_edge_pixels = DIGITS_PIXELS;
const int digit_edge_classes = DIGITS_CLASSES;
const char digit_edge_compiler[] = __VERSION__;

/* Classify `count` images for the engine "native".
 *
 * scores: memory for the scores of each image
 * labels: memory for the label of each image, or for -1 - label if it is rejected; NULL if labels
 *     are not needed */
void digit_edge_classify(const uint8_t *pixels, int count, float *scores, int *labels)
{
    uint8_t workspace[DIGITS_WORKSPACE_BYTES + READ_AHEAD];
    uint8_t image[DIGITS_PIXELS + READ_AHEAD];
    digits_result result;
    int n;

    for (n = 0; n < count; n++) {
        memcpy(image, pixels + n * DIGITS_PIXELS, DIGITS_PIXELS);
        if (labels == NULL) {
            softmax(run_network(image, workspace), scores + n * DIGITS_CLASSES);
            continue;
        }
        digits_classify(image, workspace, &result);
        memcpy(scores + n * DIGITS_CLASSES, result.scores, sizeof result.scores);
        labels[n] = result.accepted ? result.label : -1 - result.label;
    }
}
#endif
