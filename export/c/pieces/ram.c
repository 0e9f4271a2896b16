/* The variables that a caller of digits_classify needs. `digit-edge export-c --boards` measures
 * their size. */

#include "digits.h"

uint8_t workspace[DIGITS_WORKSPACE_BYTES];
uint8_t pixels[DIGITS_PIXELS];
digits_result result;
