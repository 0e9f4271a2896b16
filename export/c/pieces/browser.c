/* The program of the page that `digit-edge export-web` writes, in WebAssembly. It runs any model
 * that export.c supports. The model is not compiled in: the page copies the file `model.bin` to the
 * address MODEL. export/c/browser_model.py writes this file with the layout of the structs here.
 * `make wasm` compiles the program. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shapes.c"
#include "requantize.c"
#include "dot.c"
#include "convolve.c"
#include "convolve_depthwise.c"
#include "dense.c"
#include "pool.c"
#include "pool_max.c"
#include "pool_average.c"
#include "average_all.c"
#include "pad.c"
#include "crop.c"
#include "limit.c"

#define EXPORT(name) __attribute__((export_name(#name)))
#define MODEL ((const struct model *)0x100000) /* an address behind the program's own variables */
#define FORMAT 1       /* of the file model.bin */
#define PAGE_BYTES 65536
#define DIGITS_PIXELS (28 * 28)
#define DIGITS_CLASSES (MODEL->classes)
#define READ_AHEAD 4       /* the vector code reads up to 3 bytes after the end of its input */
#define MAX_SIDE 320       /* pixels; of an image */
#define MAX_PHOTO_SIDE 192 /* pixels; digits_preprocess would shrink a larger frame */
#define MIN_CLUTTER 0.05   /* share of the digit's mass; lighter components are not clutter */
#define MAX_CLUTTER 1.5    /* times the digit's mass; with more clutter, it is part of a text */

#include "mnist_format.c"
#include "preprocess.h"
#include "preprocess.c"

/* A layer of the network. */
struct step {
    enum {
        CONVOLUTION,
        DEPTHWISE_CONVOLUTION,
        DENSE,
        MAX_POOLING,
        AVERAGE_POOLING,
        GLOBAL_AVERAGE,
        PADDING,
        CROPPING,
        LIMITING
    } kind;
    const void *layer;
    int output_bytes;
};

/* The start of model.bin. Its pointers are addresses in the memory of this program. */
struct model {
    double logit_weight;         /* of the rejection model */
    double rejection_threshold;  /* an image with a lower score is rejected */
    double confidence_threshold; /* without a rejection model */
    int format;
    int bytes; /* size of model.bin */
    int classes;
    int workspace_bytes;
    int steps;
    const struct step *step;
    const uint32_t *softmax;
    int neurons; /* of the rejection model; 0 without a rejection model */
    const int8_t *weights;
    const float *scales;
    const float *biases;
    const float *outputs;
};

/* The digit that was found in a photograph. */
struct photo {
    int left, top, right, bottom; /* bounding box; right and bottom are exclusive */
    int odd; /* 1: it does not have the shape of a digit, or is surrounded by too much other ink */
};

#define softmax_numerators (MODEL->softmax)
#include "softmax.c"

#include "blank.c"
#define REJECTION_NEURONS (MODEL->neurons)
#define REJECTION_LOGIT_WEIGHT (MODEL->logit_weight)
#define REJECTION_THRESHOLD (MODEL->rejection_threshold)
#define rejection_weights (MODEL->weights)
#define rejection_scales (MODEL->scales)
#define rejection_biases (MODEL->biases)
#define rejection_outputs (MODEL->outputs)
#define is_accepted is_accepted_by_model
#include "rejection_by_model.c"
#undef is_accepted

#define CONFIDENCE_THRESHOLD (MODEL->confidence_threshold)
#define is_accepted is_accepted_by_confidence
#include "rejection_by_confidence.c"
#undef is_accepted

static uint8_t image[MAX_SIDE * MAX_SIDE * 4]; /* red, green, blue and alpha of each pixel */
static digits_preprocess_workspace frame;
static struct photo photo;
static uint8_t pixels[DIGITS_PIXELS + READ_AHEAD];
static uint8_t *workspace;
static float *scores;
static uint8_t *heap; /* the first free byte */

/* The functions of libc that kernels.h calls. */
#define memcpy __builtin_memcpy
#define memset __builtin_memset

static int strcmp(const char *one, const char *other)
{
    while (*one != '\0' && *one == *other) {
        one++;
        other++;
    }
    return *one - *other;
}

static int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    uint8_t *const start = (uint8_t *)(((size_t)heap + alignment - 1) / alignment * alignment);
    const size_t pages = ((size_t)start + bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    const size_t present = __builtin_wasm_memory_size(0);

    if (pages > present && __builtin_wasm_memory_grow(0, pages - present) == SIZE_MAX) {
        return 1;
    }
    heap = start + bytes;
    *memory = start;
    return 0;
}

/* Compute the feature maps of a layer that ends with a max pooling: its output without the pooling.
 * The page knows their shape. */
static const uint8_t *feature_maps(const struct step *step, const uint8_t *input)
{
    /* Both kinds of convolutions have the same fields. */
    struct convolution layer = *(const struct convolution *)step->layer;
    void *maps;

    layer.output.height = (layer.input.height - layer.kernel.height) / layer.stride.height + 1;
    layer.output.width = (layer.input.width - layer.kernel.width) / layer.stride.width + 1;
    layer.pool.height = layer.pool.width = 1;
    if (posix_memalign(&maps, 1, layer.output.height * layer.output.width * layer.output.channels)
        != 0) {
        return NULL;
    }
    heap = maps; /* the page reads the maps before the next call */
    if (step->kind == CONVOLUTION) {
        convolve(&layer, input, maps);
    } else {
        convolve_depthwise((const struct depthwise_convolution *)&layer, input, maps);
    }
    return maps;
}

#define USES_CONVOLVE
#define USES_APPLY_DENSE
#include "kernels.h"

static void run_step(const struct step *step, const uint8_t *input, uint8_t *output)
{
    switch (step->kind) {
    case CONVOLUTION:
        convolve(step->layer, input, output);
        break;
    case DEPTHWISE_CONVOLUTION:
        convolve_depthwise(step->layer, input, output);
        break;
    case DENSE:
        apply_dense(step->layer, input, output);
        break;
    case MAX_POOLING:
        pool_max(step->layer, input, output);
        break;
    case AVERAGE_POOLING:
        pool_average(step->layer, input, output);
        break;
    case GLOBAL_AVERAGE:
        average_all(step->layer, input, output);
        break;
    case PADDING:
        pad(step->layer, input, output);
        break;
    case CROPPING:
        crop(step->layer, input, output);
        break;
    case LIMITING:
        limit(step->layer, input, output);
        break;
    }
}

/* Run the first `count` layers and return the output of the last one. Each layer reads its input
 * from one end of the workspace and writes its output to the other end. */
static const uint8_t *run_steps(int count)
{
    const uint8_t *input = pixels;
    int n;

    for (n = 0; n < count; n++) {
        const struct step *const step = &MODEL->step[n];
        uint8_t *const output =
            n % 2 == 0 ? workspace : workspace + MODEL->workspace_bytes - step->output_bytes;

        run_step(step, input, output);
        input = output;
    }
    return input;
}

/* Return the address to which the page copies model.bin. */
EXPORT(model) const void *model_address(void)
{
    return MODEL;
}

extern uint8_t __heap_base; /* the linker sets it behind the program's own variables */

/* Prepare the model that lies at MODEL. Return 1, or 0 if this program cannot run it. */
EXPORT(open) int open_model(void)
{
    void *memory;

    if (MODEL->format != FORMAT || (const void *)&__heap_base > (const void *)MODEL) {
        return 0;
    }
    heap = (uint8_t *)MODEL + MODEL->bytes;
    if (posix_memalign(&memory, 16, MODEL->workspace_bytes + READ_AHEAD) != 0) {
        return 0;
    }
    workspace = memory;
    if (posix_memalign(&memory, 16, DIGITS_CLASSES * sizeof(float)) != 0) {
        return 0;
    }
    scores = memory;
    digit_edge_choose(NULL);
    return 1;
}

/* Return the address of the 28 x 28 pixels that `run` classifies. */
EXPORT(pixels) uint8_t *pixels_address(void)
{
    return pixels;
}

/* Return the address of an image for `convert_drawing`: 4 bytes a pixel, at most 320 x 320. */
EXPORT(image) uint8_t *image_address(void)
{
    return image;
}

/* Convert a drawing, black on white, to pixels in MNIST's format; all pixels are 0 if it is blank.
 * The Python version is `to_mnist_format` in runtime/preprocess/mnist_format.py. */
EXPORT(convert_drawing) void convert_drawing(int width, int height)
{
    int left = width, top = height, right = 0, bottom = 0;
    double cells[20 * 20] = {0.0};
    float line[MAX_SIDE];
    int x, y;

    memset(pixels, 0, DIGITS_PIXELS);
    if (larger(width, height) > MAX_SIDE) {
        return;
    }
    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {
            if (image[4 * (y * width + x)] != 255) {
                left = x < left ? x : left;
                right = x + 1 > right ? x + 1 : right;
                top = y < top ? y : top;
                bottom = y + 1;
            }
        }
    }
    if (right == 0) {
        return;
    }
    for (y = top; y < bottom; y++) {
        for (x = left; x < right; x++) {
            line[x - left] = 255.0f - image[4 * (y * width + x)];
        }
        add_to_cells(line, y - top, right - left, bottom - top, cells);
    }
    place_cells(cells, pixels);
}

/* Return the number of connected components that the last call of digits_preprocess found. */
static int count_components(int width, int height)
{
    int count = 0, i;

    for (i = 0; i < width * height; i++) {
        count = larger(count, frame.shared.labels[i]);
    }
    return count;
}

/* Return whether the digit of a photograph does not have the shape of a digit, or is surrounded by
 * too much other ink. The Python version is in runtime/preprocess/segment.py. */
static bool is_odd(int count, int width, int height, const struct ink *ink)
{
    double kept = 0.0, largest = 0.0, clutter = 0.0;
    int n;

    for (n = 0; n < count; n++) {
        const struct digits_component *const component = &frame.components[n];

        if (component->kept) {
            kept += component->mass;
            largest = component->mass > largest ? component->mass : largest;
        }
    }
    for (n = 0; n < count; n++) {
        const struct digits_component *const component = &frame.components[n];

        if (!component->kept && component->mass > MIN_CLUTTER * largest
            && borders(component, width, height) == 0) {
            clutter += component->mass;
        }
    }
    return clutter > MAX_CLUTTER * kept || is_implausible(&frame, count, width, ink);
}

/* Return the smallest level that at least this share of the counted pixels does not exceed. */
static int quantile(const int32_t counts[256], int total, double share)
{
    int level = 0, sum = counts[0];

    while (level < 255 && sum < share * total) {
        sum += counts[++level];
    }
    return level;
}

/* Convert the colors of the image to gray, in the same array. Transparent pixels get a uniform
 * background, as in runtime/preprocess/grayscale.py: in a complete picture the median of the opaque
 * pixels, in a drawing white for dark ink and black for light ink. */
static void convert_to_gray(int size)
{
    int32_t counts[256] = {0};
    int i, opaque = 0, ground;
    double sum = 0.0;

    for (i = 0; i < size; i++) { /* ITU-R 601, rounded as in Pillow */
        uint8_t *color = &image[4 * i];

        color[0] = (uint8_t)((19595 * color[0] + 38470 * color[1] + 7471 * color[2] + 32768) >> 16);
        if (color[3] >= 128) {
            counts[color[0]]++;
            sum += color[0];
            opaque++;
        }
    }
    ground = sum < 128.0 * opaque || opaque == 0 ? 255 : 0;
    if (2 * opaque > size && quantile(counts, opaque, 0.98) - quantile(counts, opaque, 0.02) > 48) {
        ground = quantile(counts, opaque, 0.5);
    }
    for (i = 0; i < size; i++) {
        const int light = image[4 * i], alpha = image[4 * i + 3];

        image[i] = (uint8_t)((light * alpha + ground * (255 - alpha) + 127) / 255);
    }
}

/* Return the address of the result of `convert_photo`. */
EXPORT(photo) const struct photo *photo_address(void)
{
    return &photo;
}

/* Find the digit in a photograph of at most 192 x 192 pixels and convert it to pixels in MNIST's
 * format. Return a value of the enum in preprocess.h. */
EXPORT(convert_photo) int convert_photo(int width, int height)
{
    struct ink ink = {.left = width, .top = height};
    int n, status, count;

    if (larger(width, height) > MAX_PHOTO_SIDE) {
        return DIGITS_WRONG_SIZE;
    }
    convert_to_gray(width * height);
    status = digits_preprocess(image, width, height, &frame, pixels);
    if (status != DIGITS_FOUND) {
        return status;
    }
    count = count_components(width, height);
    for (n = 0; n < count; n++) {
        const struct digits_component *const component = &frame.components[n];

        if (component->kept) {
            ink.left = smaller(ink.left, component->left);
            ink.top = smaller(ink.top, component->top);
            ink.right = larger(ink.right, component->right);
            ink.bottom = larger(ink.bottom, component->bottom);
        }
    }
    photo.left = ink.left;
    photo.top = ink.top;
    photo.right = ink.right;
    photo.bottom = ink.bottom;
    photo.odd = is_odd(count, width, height, &ink);
    return DIGITS_FOUND;
}

/* Compute and return the scores of the pixels. */
EXPORT(run) const float *run(void)
{
    softmax(run_steps(MODEL->steps), scores);
    return scores;
}

/* Return whether the pixels are accepted with this confidence. */
EXPORT(accepts) bool accepts(float confidence)
{
    return MODEL->neurons > 0 ? is_accepted_by_model(pixels, confidence)
                              : is_accepted_by_confidence(pixels, confidence);
}

/* Return the feature maps of a layer for the pixels, [row][column][channel]: the input of its max
 * pooling; NULL if memory is short. */
EXPORT(maps) const uint8_t *maps(int layer)
{
    const struct step *const step = &MODEL->step[layer];
    const uint8_t *input = run_steps(layer);

    return step->kind == MAX_POOLING ? input : feature_maps(step, input);
}
