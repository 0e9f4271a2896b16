void digits_classify(const uint8_t pixels[DIGITS_PIXELS],
                     uint8_t workspace[DIGITS_WORKSPACE_BYTES], digits_result *result)
{
    int n;

    softmax(run_network(pixels, workspace), result->scores);
    result->label = 0;
    for (n = 1; n < DIGITS_CLASSES; n++) {
        if (result->scores[n] > result->scores[result->label]) {
            result->label = n;
        }
    }
    result->confidence = result->scores[result->label];
    result->accepted = is_accepted(pixels, result->confidence);
}
