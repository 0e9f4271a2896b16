/* Print the result of the model's self-test, then classify one image per second. */

#include "digits.h"

static uint8_t workspace[DIGITS_WORKSPACE_BYTES];
static uint8_t pixels[DIGITS_PIXELS]; /* 0 = background, 255 = ink; fill this array in loop() */
static digits_result result;

void setup()
{
    Serial.begin(115200);
    while (!Serial) {
    }
    const int status = digits_selftest(workspace);
    if (status == 0) {
        Serial.println("self-test passed: the scores are LiteRT's");
    } else {
        Serial.print("self-test FAILED: ");
        Serial.println(status);
    }
}

void loop()
{
    digits_classify(pixels, workspace, &result);
    if (result.accepted) {
        Serial.print(digits_labels[result.label]);
        Serial.print(" ");
        Serial.println(result.confidence);
    } else {
        Serial.println("none of the classes");
    }
    delay(1000);
}
