/* Classify each image of the file "images" on a machine with a C library. Write scores, label and
 * `accepted` to the file "answers". Print the number of images and the result of the self-test. */

#include <stdio.h>

#include "digits.h"

int main(void)
{
    static uint8_t workspace[DIGITS_WORKSPACE_BYTES];
    static uint8_t pixels[DIGITS_PIXELS];
    FILE *const images = fopen("images", "rb");
    FILE *const answers = fopen("answers", "wb");
    digits_result result;
    int count = 0;

    if (!images || !answers) {
        return 2;
    }
    while (fread(pixels, 1, sizeof pixels, images) == sizeof pixels) {
        digits_classify(pixels, workspace, &result);
        fwrite(result.scores, sizeof result.scores, 1, answers);
        fputc(result.label, answers);
        fputc(result.accepted, answers);
        count++;
    }
    printf("images %d\nselftest %d\n", count, (uint8_t)digits_selftest(workspace));
    fclose(images);
    return fclose(answers);
}
