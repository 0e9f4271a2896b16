/* Classify images from files or from standard input, without Python.
 *
 * Compile: cc -O3 -static -o digits main.c digits.c
 * Use:     ./digits FILE...     or     ./digits < FILE     or     ./digits --selftest
 *
 * A file is a PGM image (P5, at most 255 gray levels) or raw bytes: the pixels of one image, with
 * 0 for background and 255 for ink. The program prints one JSON object for each image. The exit
 * status is 0; 2 if a file cannot be read, and 3 if the self-test fails. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "digits.h"

#ifdef DIGITS_MAX_SIDE
#define MAX_FRAME_BYTES (DIGITS_MAX_SIDE * DIGITS_MAX_SIDE)
#else
#define MAX_FRAME_BYTES DIGITS_PIXELS
#endif
#define MAX_HEADER_BYTES 1024 /* a PGM header may contain comments */

static uint8_t workspace[DIGITS_WORKSPACE_BYTES];
static uint8_t file[MAX_FRAME_BYTES + MAX_HEADER_BYTES + 1];
static uint8_t pixels[DIGITS_PIXELS];

/* Print a text as a JSON string. */
static void print_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < 0x20 || c == 0x7F) {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

/* Read a decimal number of a PGM header at *position, after spaces and comments. Return -1 if there
 * is none, or if it is larger than 99,999. */
static int header_number(size_t size, size_t *position)
{
    size_t at = *position;
    int number = -1;

    while (at < size && (file[at] == '#' || (file[at] > 0 && strchr(" \t\r\n", file[at])))) {
        if (file[at] == '#') {
            while (at < size && file[at] != '\n') {
                at++;
            }
        } else {
            at++;
        }
    }
    for (; at < size && file[at] >= '0' && file[at] <= '9' && number < 10000; at++) {
        number = (number < 0 ? 0 : number * 10) + (file[at] - '0');
    }
    *position = at;
    return at < size && file[at] >= '0' && file[at] <= '9' ? -1 : number;
}

/* Scale gray levels from 0 to `levels` to 0 to 255. */
static void scale(uint8_t *gray, int count, int levels)
{
    int i;

    for (i = 0; i < count && levels < 255; i++) {
        gray[i] = (uint8_t)(gray[i] < levels ? (gray[i] * 510 + levels) / (2 * levels) : 255);
    }
}

/* Convert the `size` bytes of a file to pixels. Return NULL, or a text that says what is wrong. */
static const char *convert(size_t size)
{
    size_t position = 2;
    int width, height, levels;

    if (size == DIGITS_PIXELS && memcmp(file, "P5", 2) != 0) {
        memcpy(pixels, file, DIGITS_PIXELS);
        return NULL;
    }
    if (size < 2 || memcmp(file, "P5", 2) != 0 || DIGITS_CHANNELS != 1) {
        return "it is neither a PGM image (P5) nor raw pixels; convert it";
    }
    width = header_number(size, &position);
    height = header_number(size, &position);
    levels = header_number(size, &position);
    position++; /* one space after the header */
    if (width < 1 || height < 1 || levels < 1 || levels > 255) {
        return "its PGM header is damaged, or it has more than 255 gray levels; convert it";
    }
    if (position > size || size - position < (size_t)width * (size_t)height) {
        return "it is truncated, or larger than this program reads; scale it down";
    }
    scale(file + position, width * height, levels);
#ifdef DIGITS_MAX_SIDE
    if (width == DIGITS_WIDTH && height == DIGITS_HEIGHT) {
        memcpy(pixels, file + position, DIGITS_PIXELS);
    } else {
        static digits_preprocess_workspace frame;

        switch (digits_preprocess(file + position, width, height, &frame, pixels)) {
        case DIGITS_WRONG_SIZE:
            return "its longer side is not from 32 to 320 pixels; scale it";
        case DIGITS_CLUTTERED:
            return "it has too many separate pieces of ink; crop it to the digit";
        default:
            break; /* a blank frame has blank pixels, which are rejected */
        }
    }
#else
    if (width != DIGITS_WIDTH || height != DIGITS_HEIGHT) {
        return "it does not have the model's size; scale it";
    }
    memcpy(pixels, file + position, DIGITS_PIXELS);
#endif
    return NULL;
}

/* Classify one open file and print the result. Return 0, or 2 if the file cannot be read. */
static int classify(const char *name, FILE *stream)
{
    const size_t size = fread(file, 1, sizeof file, stream);
    const char *wrong = ferror(stream) ? strerror(errno) : convert(size);
    digits_result result;

    if (wrong) {
        fprintf(stderr, "error: %s: %s\n", name, wrong);
        return 2;
    }
    digits_classify(pixels, workspace, &result);
    fputs("{\"image\": ", stdout);
    print_string(name);
    fputs(", \"label\": ", stdout);
    print_string(digits_labels[result.label]);
    printf(", \"confidence\": %.6f, \"accepted\": %s}\n", (double)result.confidence,
           result.accepted ? "true" : "false");
    return 0;
}

/* Run the self-test and print the result. Return the exit status. */
static int selftest(void)
{
    if (digits_selftest(workspace) != 0) {
        fputs("error: the self-test failed: compile the program again\n", stderr);
        return 3;
    }
    puts("self-test passed: the scores are LiteRT's");
    return 0;
}

int main(int count, char **arguments)
{
    int status = 0;
    int n;

    if (count < 2) {
        status = classify("-", stdin);
    } else if (strcmp(arguments[1], "--selftest") == 0) {
        status = selftest();
        count = 1;
    }
    for (n = 1; n < count; n++) {
        FILE *stream = fopen(arguments[n], "rb");

        if (stream == NULL) {
            fprintf(stderr, "error: %s: %s\n", arguments[n], strerror(errno));
            status = 2;
            continue;
        }
        if (classify(arguments[n], stream) != 0) {
            status = 2;
        }
        fclose(stream);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "error: cannot write the results: %s\n", strerror(errno));
        return 2;
    }
    return status;
}
