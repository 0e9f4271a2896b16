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

/* Bytes of RAM that a call needs; they may be used for something else between two calls. */
#define DIGITS_WORKSPACE_BYTES @WORKSPACE_BYTES@

/* SHA-256 of the artifact that this was written from. */
#define DIGITS_DIGEST "@DIGEST@"

typedef struct {
    int label;                    /* the likeliest class; digits_labels[label] is its name */
    float confidence;             /* its score, 0 to 1 */
    bool accepted;                /* false if the image is probably not one of the classes */
    float scores[DIGITS_CLASSES]; /* the softmax, in the order of digits_labels */
} digits_result;

/* The names of the classes, in UTF-8. */
extern const char *const digits_labels[DIGITS_CLASSES];

/* Classify one image: 0 is background, 255 is ink.
 *
 * Logits and scores are LiteRT's, bit by bit. `accepted` is that of `Classifier.classify` in
 * Python for the same array of pixels: a blank image is rejected, and one that the artifact's
 * rejection model scores below its threshold (or, in an artifact without one, a confidence below
 * the threshold). The rules for pictures need Python: implausible shapes, the letter B, and
 * test-time augmentation of uncertain predictions. */
void digits_classify(const uint8_t pixels[DIGITS_PIXELS],
                     uint8_t workspace[DIGITS_WORKSPACE_BYTES], digits_result *result);

#define DIGITS_SELFTEST_DAMAGED (-1)

/* Check this copy of the model on this device: the checksum of all parameters, and the golden
 * images, whose scores must be LiteRT's bit by bit.
 *
 * Return 0 if all is well, DIGITS_SELFTEST_DAMAGED if a parameter changed, and otherwise the
 * number of the first golden image, from 1, whose scores differ. */
int digits_selftest(uint8_t workspace[DIGITS_WORKSPACE_BYTES]);
@PREPROCESS@
#ifdef __cplusplus
}
#endif

#endif
