/* The smallest program that classifies an image. Its size is the flash that the model needs,
 * including functions of the compiler's library. */

#include "digits.h"

uint8_t workspace[DIGITS_WORKSPACE_BYTES];
uint8_t pixels[DIGITS_PIXELS];
digits_result result;

int main(void)
{
#ifdef WITH_SELFTEST
    result.label = digits_selftest(workspace);
#endif
    digits_classify(pixels, workspace, &result);
    return 0;
}
