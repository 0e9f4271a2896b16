/* The smallest program with the model in it: what `arm-none-eabi-size` prints for it is the flash
 * that the model takes, with what it needs of the compiler's library. */

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
