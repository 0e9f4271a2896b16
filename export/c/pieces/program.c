/* Run the self-test, then classify each image from standard input. Write scores, label and
 * `accepted` of each image to standard output. The exit status is the result of the self-test. */

#include <stdio.h>

#include "digits.h"

int main(void)
{
    static uint8_t pixels[DIGITS_PIXELS], workspace[DIGITS_WORKSPACE_BYTES];
    const int status = digits_selftest(workspace);
    digits_result result;

    while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {
        digits_classify(pixels, workspace, &result);
        fwrite(result.scores, sizeof result.scores, 1, stdout);
        fputc(result.label, stdout);
        fputc(result.accepted, stdout);
    }
    return status & 0xFF;
}
