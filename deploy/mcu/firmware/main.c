/* Classify each image of the file "images" on an emulated microcontroller. Write scores, label and
 * `accepted` to the file "answers". Print the number of images, the largest stack, the instructions
 * per image and the result of the self-test. */

#include "clock.h"
#include "digits.h"
#include "semihosting.h"

#define PAINT 0xA5A5A5A5u /* the value of stack words that were never used */

extern uint32_t stack_bottom, stack_top; /* link.ld */

static uint8_t workspace[DIGITS_WORKSPACE_BYTES];
static uint8_t pixels[DIGITS_PIXELS];
static digits_result result;

/* Fill the unused part of the stack with PAINT. The 16 words below this function's frame stay. */
static __attribute__((noinline)) void paint_stack(void)
{
    volatile uint32_t *word;

    for (word = &stack_bottom; word < (uint32_t *)__builtin_frame_address(0) - 16; word++) {
        *word = PAINT;
    }
}

/* Return the largest size of the stack in bytes, including the frame of main. */
static uint32_t used_stack(void)
{
    const volatile uint32_t *word = &stack_bottom;

    while (*word == PAINT) {
        word++;
    }
    return (uint32_t)(&stack_top - word) * 4;
}

int main(void)
{
    const intptr_t images = open_file("images", OPEN_READ);
    const intptr_t answers = open_file("answers", OPEN_WRITE);
    uint32_t loop_ticks, start, count = 0;
    uint64_t ticks = 0;

    paint_stack();
    clock_start();
    start = clock_ticks();
    clock_loop();
    loop_ticks = clock_between(start, clock_ticks());
    while (read_file(images, pixels, sizeof pixels)) {
        start = clock_ticks();
        digits_classify(pixels, workspace, &result);
        ticks += clock_between(start, clock_ticks());
        write_file(answers, result.scores, sizeof result.scores);
        write_file(answers, (uint8_t[]){(uint8_t)result.label, result.accepted}, 2);
        count++;
    }
    print_number("images", count);
    print_number("stack_bytes", used_stack());
    if (count > 0 && loop_ticks > 0) {
        print_number("instructions",
                     (uint32_t)(ticks * LOOP_INSTRUCTIONS / loop_ticks / count));
    }
    print_number("selftest", (uint8_t)digits_selftest(workspace));
    semihosting(SYS_EXIT, (void *)STOPPED_APPLICATION_EXIT);
    return 0;
}
