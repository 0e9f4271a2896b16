/* Print the result of the model's self-test. The exit status is 0 if it passed, otherwise 1. */

#include <stdio.h>

#include "digits.h"

int main(void)
{
    static uint8_t workspace[DIGITS_WORKSPACE_BYTES];
    const int status = digits_selftest(workspace);

    if (status == 0) {
        puts("self-test passed: the scores are LiteRT's");
    } else {
        printf("self-test FAILED: %d\n", status);
    }
    return status != 0;
}
