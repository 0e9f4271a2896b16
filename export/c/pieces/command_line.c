/* Classify images from files or from standard input, without Python.
 *
 * Compile: cc -O3 -static -o digits main.c digits.c
 * Use:     ./digits FILE...     or     ./digits - < FILE     or     ./digits --help
 *
 * A file is a PGM image (P5, at most 255 gray levels) or raw bytes: the pixels of one image, with
 * 0 for background and 255 for ink. The program prints one JSON object for each image. */

#define _POSIX_C_SOURCE 200809L /* S_ISREG */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "digits.h"

#ifdef DIGITS_MAX_SIDE
#define MOST_ROWS DIGITS_MAX_SIDE
#define MOST_COLUMNS DIGITS_MAX_SIDE
#define WRONG_SIZE "the longer side is not from 32 to 320 pixels; scale it"
static digits_preprocess_workspace frame;
#else
#define MOST_ROWS DIGITS_HEIGHT
#define MOST_COLUMNS DIGITS_WIDTH
#define WRONG_SIZE "not of the model's size; scale it"
#endif
#define MAX_HEADER_BYTES 1024 /* a PGM header may contain comments */

static uint8_t workspace[DIGITS_WORKSPACE_BYTES];
static uint8_t file[MOST_ROWS * MOST_COLUMNS * DIGITS_CHANNELS + MAX_HEADER_BYTES];
static uint8_t pixels[DIGITS_PIXELS];

/* Decode the UTF-8 character at *text and move *text behind it. A byte that is not UTF-8 becomes
 * U+DC80 to U+DCFF, as in Python's file names (PEP 383). */
static uint32_t next_character(const char **text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* of 2, 3 and 4 bytes */
    const unsigned char *const c = (const unsigned char *)*text;
    const int length = c[0] < 0xC0 ? 1 : c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : 4;
    uint32_t code = length == 1 ? c[0] : c[0] & (0x7F >> length);
    int n;

    for (n = 1; n < length && (c[n] & 0xC0) == 0x80; n++) {
        code = code << 6 | (c[n] & 0x3F);
    }
    if ((length == 1 && code >= 0x80) || c[0] >= 0xF8 || n < length || code < least[length]
        || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
        *text += 1;
        return 0xDC00u + c[0];
    }
    *text += length;
    return code;
}

/* Print a text as a JSON string in ASCII, as Python's json.dumps does. */
static void print_string(const char *text)
{
    putchar('"');
    while (*text) {
        const unsigned code = (unsigned)next_character(&text);

        if (code == '"' || code == '\\') {
            printf("\\%c", (int)code);
        } else if (code >= 0x20 && code < 0x7F) {
            putchar((int)code);
        } else if (code < 0x10000) {
            printf("\\u%04x", code);
        } else {
            printf("\\u%04x\\u%04x", 0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF));
        }
    }
    putchar('"');
}

/* Print a text on standard error. Escape bytes that are not UTF-8, and characters with which a file
 * name could send commands to the terminal or change the direction of the text. */
static void print_safely(const char *text)
{
    while (*text) {
        const char *const start = text;
        const unsigned code = (unsigned)next_character(&text);

        if (code < 0x20 || (code >= 0x7F && code < 0xA0)) {
            fprintf(stderr, "\\x%02x", code);
        } else if ((code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E)
                   || (code >= 0x2060 && code <= 0x206F) || (code >= 0xD800 && code < 0xE000)
                   || code == 0xFEFF) {
            fprintf(stderr, "\\u%04x", code);
        } else {
            fwrite(start, 1, (size_t)(text - start), stderr);
        }
    }
}

/* Print in one line what is wrong with a file or option, and the remedy. Return the exit status. */
static int fail(const char *name, const char *wrong, const char *remedy)
{
    fputs("error: ", stderr);
    print_safely(name);
    fprintf(stderr, ": %s%s\n", wrong, remedy);
    return 2;
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
    if (size == 0) {
        return "empty file; copy it again";
    }
    if (size < 2 || memcmp(file, "P5", 2) != 0 || DIGITS_CHANNELS != 1) {
        return "neither a PGM image (P5) nor raw pixels of the model's size; convert it";
    }
    width = header_number(size, &position);
    height = header_number(size, &position);
    levels = header_number(size, &position);
    position++; /* one space after the header */
    if (width < 1 || height < 1 || levels < 1 || levels > 255) {
        return "damaged PGM header, or more than 255 gray levels; convert it";
    }
    if (width > MOST_COLUMNS || height > MOST_ROWS) {
        return WRONG_SIZE;
    }
    if (position > size || size - position < (size_t)(width * height)) {
        return "truncated image; copy it again";
    }
    scale(file + position, width * height, levels);
    if (width == DIGITS_WIDTH && height == DIGITS_HEIGHT) {
        memcpy(pixels, file + position, DIGITS_PIXELS);
        return NULL;
    }
#ifdef DIGITS_MAX_SIDE
    switch (digits_preprocess(file + position, width, height, &frame, pixels)) {
    case DIGITS_WRONG_SIZE:
        return WRONG_SIZE;
    case DIGITS_CLUTTERED:
        return "too many separate pieces of ink; crop it to the digit";
    default:
        return NULL; /* a blank frame has blank pixels, which are rejected */
    }
#else
    return WRONG_SIZE;
#endif
}

/* Classify one open file and print the result. Return the exit status. */
static int classify(const char *name, FILE *stream)
{
    const size_t size = fread(file, 1, sizeof file, stream);
    const char *wrong;
    digits_result result;

    if (ferror(stream)) {
        return fail(name, strerror(errno), "; copy it again");
    }
    wrong = convert(size);
    if (wrong) {
        return fail(name, wrong, "");
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

/* Classify the file with this name; - is standard input. Return the exit status. */
static int classify_file(const char *name)
{
    struct stat about;
    FILE *stream;
    int status;

    if (strcmp(name, "-") == 0) {
        return classify(name, stdin);
    }
    if (stat(name, &about) != 0) {
        return fail(name, strerror(errno), "; check the path");
    }
    if (S_ISDIR(about.st_mode)) {
        return fail(name, "a folder", "; pass the files in it");
    }
    if (!S_ISREG(about.st_mode)) { /* opening a pipe would wait for a writer */
        return fail(name, "not a file", "; to read it, pass - and redirect it to standard input");
    }
    stream = fopen(name, "rb");
    if (stream == NULL) {
        return fail(name, strerror(errno), "; check its permissions");
    }
    status = classify(name, stream);
    fclose(stream);
    return status;
}

static void print_usage(FILE *stream)
{
    fputs("usage: digits [-h] [--version] [--selftest] [--] FILE [FILE ...]\n", stream);
}

static void print_help(void)
{
    print_usage(stdout);
    printf("\nClassify images, and print one JSON object for each. A FILE is a PGM image\n"
           "(P5, at most 255 gray levels) or %d x %d x %d bytes of raw pixels: 0 is the\n"
           "background, 255 is ink. - is standard input.\n",
           DIGITS_HEIGHT, DIGITS_WIDTH, DIGITS_CHANNELS);
    fputs("\n"
          "  -h, --help  show this help and exit\n"
          "  --version   show the SHA-256 of the model and exit\n"
          "  --selftest  compare the scores of the golden images with LiteRT's and exit\n"
          "  --          all further arguments are files\n"
          "\n"
          "Exit status: 0 done, 2 bad input or usage, 3 the self-test failed.\n",
          stdout);
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

/* Do what the arguments say. Return the exit status. */
static int run(int count, char **arguments)
{
    int status = 0, files = 0;
    int end, n;

    for (end = 1; end < count && strcmp(arguments[end], "--") != 0; end++) {
        const char *const option = arguments[end];

        if (option[0] != '-' || option[1] == '\0') {
            continue;
        }
        if (strcmp(option, "-h") == 0 || strcmp(option, "--help") == 0) {
            print_help();
            return 0;
        }
        if (strcmp(option, "--version") == 0) {
            puts("model with SHA-256 " DIGITS_DIGEST);
            return 0;
        }
        if (strcmp(option, "--selftest") == 0) {
            return selftest();
        }
        print_usage(stderr);
        return fail(option, "unknown option", "; pass -- before the name of a file");
    }
    for (n = 1; n < count && !ferror(stdout); n++) {
        if (n != end) {
            status |= classify_file(arguments[n]);
            files++;
        }
    }
    if (files == 0) {
        print_usage(stderr);
        return fail("FILE", "missing", "; pass images, or - for standard input");
    }
    return status;
}

int main(int count, char **arguments)
{
    const int status = run(count, arguments);

    if (fflush(stdout) != 0 || ferror(stdout)) {
        return fail("standard output", "cannot be written", "; check its disk or pipe");
    }
    return status;
}
