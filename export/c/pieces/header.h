@PROVENANCE@
#ifndef DIGITS_H
#define DIGITS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DIGITS_HEIGHT @HEIGHT@
#define DIGITS_WIDTH @WIDTH@
#define DIGITS_CHANNELS @CHANNELS@
#define DIGITS_PIXELS (DIGITS_HEIGHT * DIGITS_WIDTH * DIGITS_CHANNELS)
#define DIGITS_CLASSES @CLASSES@

/* Size of the RAM that a call needs, in bytes. Between two calls the RAM can be used otherwise. */
#define DIGITS_WORKSPACE_BYTES @WORKSPACE_BYTES@

/* SHA-256 of the artifact from which this code was generated. */
#define DIGITS_DIGEST "@DIGEST@"

typedef struct {
    int label;                    /* index of the class with the highest score, in digits_labels */
    float confidence;             /* the highest score, 0 to 1 */
    bool accepted;                /* false if the image is probably not one of the classes */
    float scores[DIGITS_CLASSES]; /* softmax output, in the order of digits_labels */
} digits_result;

/* Names of the classes, in UTF-8. */
extern const char *const digits_labels[DIGITS_CLASSES];

/* Classify one image.
 *
 * pixels: [row][column][channel]; 0 = background, 255 = ink.
 *
 * The scores equal LiteRT's bit by bit. `accepted` equals the result of `Classifier.classify` in
 * Python for the same array of pixels. A blank image is rejected, unless the model takes
 * photographs. An image is also rejected if its score in the artifact's rejection model is below
 * the threshold of this model. If the artifact has no rejection model, a confidence below the
 * threshold of the artifact is rejected.
 *
 * For image files, the Python runtime has three more rules, which this function does not apply. It
 * rejects implausible shapes and the letter B, and uses test-time augmentation of uncertain
 * predictions. */
void digits_classify(const uint8_t pixels[DIGITS_PIXELS],
                     uint8_t workspace[DIGITS_WORKSPACE_BYTES], digits_result *result);

/* The result of digits_selftest if a parameter of the model changed. */
#define DIGITS_SELFTEST_DAMAGED (-1)

/* Check the model on this device. Compare the checksum of all parameters. Then classify the golden
 * images and compare their scores with LiteRT's, bit by bit.
 *
 * Return 0 if the test passed, or DIGITS_SELFTEST_DAMAGED if a parameter changed. If the scores of
 * golden images differ, return the number of the first such image, counted from 1. */
int digits_selftest(uint8_t workspace[DIGITS_WORKSPACE_BYTES]);
@PREPROCESS@
#ifdef __cplusplus
}
#endif

#endif
