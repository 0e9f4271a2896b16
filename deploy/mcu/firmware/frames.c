/* Convert each frame of the file "frames" on an emulated microcontroller, and write the pixels to the
 * file "pixels". FRAME_WIDTH and FRAME_HEIGHT are the size of all frames. */

#include "digits.h"
#include "semihosting.h"

static uint8_t frame[FRAME_WIDTH * FRAME_HEIGHT];
static uint8_t pixels[DIGITS_PIXELS];
static digits_preprocess_workspace workspace;

/* GCC replaces loops of digits_preprocess by calls of these two functions. Every C library contains
 * them, but this program has none. The attribute keeps GCC from replacing these loops, too. */
#define NO_CALLS __attribute__((optimize("no-tree-loop-distribute-patterns")))

void *memset(void *target, int byte, unsigned int count);
void *memcpy(void *target, const void *source, unsigned int count);

NO_CALLS void *memset(void *target, int byte, unsigned int count)
{
    unsigned char *bytes = target;

    while (count-- > 0) {
        *bytes++ = (unsigned char)byte;
    }
    return target;
}

NO_CALLS void *memcpy(void *target, const void *source, unsigned int count)
{
    unsigned char *bytes = target;
    const unsigned char *from = source;

    while (count-- > 0) {
        *bytes++ = *from++;
    }
    return target;
}

int main(void)
{
    const intptr_t frames = open_file("frames", OPEN_READ);
    const intptr_t results = open_file("pixels", OPEN_WRITE);

    while (read_file(frames, frame, sizeof frame)) {
        digits_preprocess(frame, FRAME_WIDTH, FRAME_HEIGHT, &workspace, pixels);
        write_file(results, pixels, sizeof pixels);
    }
    semihosting(SYS_EXIT, (void *)STOPPED_APPLICATION_EXIT);
    return 0;
}
