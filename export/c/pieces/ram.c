/* The RAM that a caller of the model provides. */

#include "digits.h"

uint8_t workspace[DIGITS_WORKSPACE_BYTES];
uint8_t pixels[DIGITS_PIXELS];
digits_result result;
