/* Vectorized versions of `convolve` and `apply_dense`, byte-equal to the portable ones.
 *
 * The engine "native" (runtime/backends/native.py) compiles a model's C file together with this
 * file. The C file includes it after its own functions. On a processor without the instructions,
 * and if memory is short, the portable functions run.
 *
 * A layer is a product of a matrix and a vector for each output pixel. The vector consists of the
 * input bytes below the kernel, one run of bytes for each row of the kernel. The matrix is
 * rearranged once, at the first call, so that one vector register holds the weights of several
 * output channels for the same 32 bits of input. */

#ifndef __wasm__ /* export/c/pieces/browser.c defines the functions of libc that are called here */
#include <stdlib.h>
#include <string.h>
#endif

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define MAX_LAYERS 64     /* further layers use the portable functions */
#define MAX_POSITIONS 64  /* convolutions with larger pooling windows use the portable functions */
#define MAX_LANES 16      /* output channels in one vector register */
#define WORD_BYTES 4      /* bytes of input that one instruction multiplies for each channel */

/* A layer's weights in the order in which the vector code reads them. */
struct matrix {
    const void *layer;
    int rows;         /* rows of the kernel */
    int row_words;    /* words of input below one row of the kernel */
    int blocks;       /* vector registers for all output channels */
    int channels;     /* output channels; the other lanes of the last register are unused */
    char *weights;    /* [group of blocks][row][word][block][lane][value of the word] */
    int32_t *biases;  /* [block][lane] */
    float *scales;    /* [block][lane] */
    float least;      /* limits of the scaled sums */
    float most;
    int32_t zero;     /* is added to the scaled sums */
    char *values;     /* memory for the converted input; NULL if it is used as it is */
    const struct requantization *rule;
};

/* The pixels of a row of the output, and the positions of the kernel for each of them. */
struct positions {
    int pixels;
    int step;                   /* bytes of input from one pixel to the next */
    int pitch;                  /* bytes from one row of the input to the next */
    int count;                  /* positions in the pooling window of a pixel */
    int offsets[MAX_POSITIONS]; /* distance of each position from the first one, in bytes */
};

/* Compute a row of the output: for each pixel and channel the largest sum over the pooling window,
 * requantized. `corner` is the input below the first position of the first pixel. */
typedef void row_function(const struct matrix *matrix, const struct positions *positions,
                          const char *corner, uint8_t *output);

/* The values that the instructions multiply. */
enum values {
    UNSIGNED_BYTES,   /* the input as it is, by int8 weights */
    SIGNED_BYTES,     /* the input - 128; the biases make up for it */
    SIGNED_PAIRS,     /* the same, and a word of weights holds pairs: [pair][lane][value] */
    WORDS_OF_16_BITS, /* the input and the weights, widened to 16 bits */
};

/* An instruction set. */
struct instructions {
    const char *name;
    int lanes;  /* output channels in a vector register */
    int blocks; /* registers of channels that are computed together, at most 4 */
    enum values values;
    row_function *row;
};

#if defined(__x86_64__)
#include "avx2.h"
#include "avx512_vnni.h"
#include "avx_vnni.h"
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#include "neon.h"
#include "neon_dotprod.h"
#elif defined(__arm__) && !defined(__ARMEB__)
#include "smlad.h"
#elif defined(__wasm_simd128__)
#include "simd128.h"
#endif

static const struct instructions *chosen_instructions;
static struct matrix matrices[MAX_LAYERS];
static int matrix_count;

/* Use an instruction set from now on. Weights are arranged again for another set. */
static void use(const struct instructions *set)
{
    if (set != chosen_instructions) {
        matrix_count = 0; /* the memory is not freed: only tests and benchmarks change the set */
    }
    chosen_instructions = set;
}

/* Choose the fastest instruction set of this processor.
 *
 * limit: name of the instruction set to use instead, for tests and benchmarks; NULL for the
 * fastest, "portable" for none.
 *
 * Return the name of the chosen set; NULL if the processor lacks the set `limit`. */
const char *digit_edge_choose(const char *limit)
{
    const struct {
        const struct instructions *set;
        int supported;
    } sets[] = {
#if defined(__x86_64__)
        {&avx512_vnni, __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")},
        {&avx_vnni, supports_avx_vnni()},
        {&avx2, __builtin_cpu_supports("avx2")},
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
        {&neon_dotprod, supports_dotprod()},
        {&neon, 1},
#elif defined(__arm__) && !defined(__ARMEB__)
        {&smlad, supports_smlad()},
#elif defined(__wasm_simd128__)
        {&simd128, 1},
#endif
        {NULL, 0},
    };
    size_t n;

    for (n = 0; sets[n].set != NULL; n++) {
        if (sets[n].supported && (limit == NULL || strcmp(limit, sets[n].set->name) == 0)) {
            use(sets[n].set);
            return sets[n].set->name;
        }
    }
    use(NULL);
    return limit == NULL || strcmp(limit, "portable") == 0 ? "portable" : NULL;
}

/* Return memory for `bytes`, filled with zeros and aligned to a vector register; NULL if memory is
 * short. The memory is kept as long as the process runs. */
static void *zeros(size_t bytes)
{
    void *memory;

    if (posix_memalign(&memory, 64, bytes + 64) != 0) {
        return NULL;
    }
    return memset(memory, 0, bytes + 64);
}

static int value_bytes(const struct instructions *set)
{
    return set->values == WORDS_OF_16_BITS ? 2 : 1;
}

static int is_signed(const struct instructions *set)
{
    return set->values == SIGNED_BYTES || set->values == SIGNED_PAIRS;
}

/* Find the group of blocks that `row_function` computes together with this block. */
static void find_group(int block, int blocks, int *first, int *size)
{
    *first = 0;
    *size = chosen_instructions->blocks;
    while (*first + *size > blocks || block >= *first + *size) {
        if (*first + *size > blocks) {
            *size = *size > 2 ? 2 : 1;
        } else {
            *first += *size;
        }
    }
}

/* Rearrange the weights of a layer: [channel][row][value of the row]. Return NULL if memory is
 * short, there are too many layers, or a weight is -128 and the instructions need at least -127. */
static const struct matrix *arrange(const void *layer, int channels, int rows, int row_values,
                                    int input_values, const int8_t *weights, const int32_t *biases,
                                    const struct requantization *rule)
{
    const struct instructions *set = chosen_instructions;
    const int word_values = WORD_BYTES / value_bytes(set);
    const int row_words = (row_values + word_values - 1) / word_values;
    const int blocks = (channels + set->lanes - 1) / set->lanes;
    const int padded = blocks * set->lanes;
    struct matrix made = {.layer = layer, .rows = rows, .row_words = row_words, .blocks = blocks,
                          .channels = channels, .least = rule->least - rule->zero,
                          .most = rule->most - rule->zero, .zero = rule->zero, .rule = rule};
    int channel, row, value;

    if (matrix_count == MAX_LAYERS) {
        return NULL;
    }
    made.weights = zeros((size_t)rows * row_words * padded * WORD_BYTES);
    made.biases = zeros(padded * sizeof *made.biases);
    made.scales = zeros(padded * sizeof *made.scales);
    made.values = zeros((size_t)input_values * value_bytes(set));
    if (!made.weights || !made.biases || !made.scales || !made.values) {
        return NULL;
    }
    for (channel = 0; channel < channels; channel++) {
        const int block = channel / set->lanes, lane = channel % set->lanes;
        int32_t sum = 0;
        int first, size;

        find_group(block, blocks, &first, &size);
        for (row = 0; row < rows; row++) {
            for (value = 0; value < row_values; value++, weights++) {
                const long word = row * row_words + value / word_values;
                const long before = (long)first * rows * row_words + word * size + block - first;
                char *const target = made.weights + before * set->lanes * WORD_BYTES;
                const int part = value % word_values;

                sum += *weights;
                if (set->values == WORDS_OF_16_BITS) {
                    ((int16_t *)target)[lane * 2 + part] = *weights;
                } else if (set->values == SIGNED_PAIRS) {
                    if (*weights == INT8_MIN) {
                        return NULL;
                    }
                    target[(part / 2 * set->lanes + lane) * 2 + part % 2] = *weights;
                } else {
                    target[lane * 4 + part] = *weights;
                }
            }
        }
        made.biases[channel] = biases[channel] + (is_signed(set) ? 128 * sum : 0);
        memcpy(&made.scales[channel], &rule->scales[channel], sizeof(float));
    }
    matrices[matrix_count] = made;
    return &matrices[matrix_count++];
}

/* Return the rearranged weights of a layer; NULL if it has none. */
static const struct matrix *find_matrix(const void *layer)
{
    int n;

    for (n = 0; n < matrix_count; n++) {
        if (matrices[n].layer == layer) {
            return &matrices[n];
        }
    }
    return NULL;
}

/* Return the input as the instructions need it. */
static const char *prepare(const struct matrix *matrix, const uint8_t *input, int count)
{
    uint16_t *restrict words = (uint16_t *)matrix->values;
    char *restrict bytes = matrix->values;
    int n;

    if (chosen_instructions->values == UNSIGNED_BYTES) {
        return (const char *)input;
    }
    if (chosen_instructions->values == WORDS_OF_16_BITS) {
        for (n = 0; n < count; n++) {
            words[n] = input[n];
        }
    } else {
        for (n = 0; n < count; n++) {
            bytes[n] = (char)(input[n] ^ 0x80);
        }
    }
    return bytes;
}

#ifdef USES_CONVOLVE
static void convolve_by_vectors(const struct convolution *layer, const uint8_t *input,
                                uint8_t *output)
{
    const struct window pool = layer->pool, stride = layer->stride;
    const int channels = layer->input.channels;
    const int input_values = layer->input.height * layer->input.width * channels;
    const struct matrix *matrix = find_matrix(layer);
    struct positions positions;
    const char *corner;
    int bytes, y, n;

    if (matrix == NULL && chosen_instructions != NULL) {
        matrix = arrange(layer, layer->output.channels, layer->kernel.height,
                         layer->kernel.width * channels, input_values, layer->weights,
                         layer->biases, &layer->requantization);
    }
    if (matrix == NULL || pool.height * pool.width > MAX_POSITIONS) {
        convolve(layer, input, output);
        return;
    }
    bytes = channels * value_bytes(chosen_instructions); /* of one pixel of the input */
    positions.pixels = layer->output.width;
    positions.step = pool.width * stride.width * bytes;
    positions.pitch = layer->input.width * bytes;
    positions.count = pool.height * pool.width;
    for (n = 0; n < positions.count; n++) {
        positions.offsets[n] = n / pool.width * stride.height * positions.pitch
                               + n % pool.width * stride.width * bytes;
    }
    corner = prepare(matrix, input, input_values);
    for (y = 0; y < layer->output.height; y++) {
        chosen_instructions->row(matrix, &positions, corner, output);
        corner += pool.height * stride.height * positions.pitch;
        output += layer->output.width * matrix->channels;
    }
}
#define convolve convolve_by_vectors
#endif

#ifdef USES_APPLY_DENSE
static void apply_dense_by_vectors(const struct dense *layer, const uint8_t *input, uint8_t *output)
{
    static const struct positions one = {.pixels = 1, .count = 1};
    const struct matrix *matrix = find_matrix(layer);

    if (matrix == NULL && chosen_instructions != NULL) {
        matrix = arrange(layer, layer->outputs, 1, layer->inputs, layer->inputs, layer->weights,
                         layer->biases, &layer->requantization);
    }
    if (matrix == NULL) {
        apply_dense(layer, input, output);
        return;
    }
    chosen_instructions->row(matrix, &one, prepare(matrix, input, layer->inputs), output);
}
#define apply_dense apply_dense_by_vectors
#endif
