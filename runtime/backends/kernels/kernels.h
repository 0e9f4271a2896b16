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

#include <stdlib.h>
#include <string.h>

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
    char *weights;    /* [row][word][block][lane][value of the word] */
    int32_t *biases;  /* [block][lane] */
    float *scales;    /* [block][lane] */
    char *values;     /* the input with 16 bits a value; NULL if bytes are multiplied directly */
    const struct requantization *rule;
};

/* Compute the output channels of one pixel: the largest sums over all positions, requantized.
 * Positions are the input addresses of the pooling window; `pitch` is the number of bytes from one
 * row of the input to the next. */
typedef void pixel_function(const struct matrix *matrix, const char *const *positions, int count,
                            int pitch, uint8_t *output);

/* An instruction set. */
struct instructions {
    const char *name;
    int lanes;        /* output channels in a vector register */
    int value_bytes;  /* bytes of one value of the input: 1, or 2 if it is widened to 16 bits */
    pixel_function *pixel;
};

#if defined(__x86_64__)
#include "avx2.h"
#include "avx512_vnni.h"
#include "avx_vnni.h"
#endif

static const struct instructions *chosen_instructions;

/* Choose the fastest instruction set of this processor.
 *
 * limit: name of the instruction set to use instead, for tests and benchmarks; NULL for the
 * fastest, "portable" for none.
 *
 * Return the name of the chosen set; NULL if the processor lacks the set `limit`. */
const char *digit_edge_choose(const char *limit)
{
#if defined(__x86_64__)
    const struct {
        const struct instructions *set;
        int supported;
    } sets[] = {
        {&avx512_vnni, __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")},
        {&avx_vnni, supports_avx_vnni()},
        {&avx2, __builtin_cpu_supports("avx2")},
    };
    size_t n;

    for (n = 0; n < sizeof sets / sizeof sets[0]; n++) {
        if (sets[n].supported && (limit == NULL || strcmp(limit, sets[n].set->name) == 0)) {
            chosen_instructions = sets[n].set;
            return chosen_instructions->name;
        }
    }
#endif
    chosen_instructions = NULL;
    return limit == NULL || strcmp(limit, "portable") == 0 ? "portable" : NULL;
}

static struct matrix matrices[MAX_LAYERS];
static int matrix_count;

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

/* Rearrange the weights of a layer: [channel][row][value of the row]. Return NULL if memory is
 * short or there are too many layers. */
static const struct matrix *arrange(const void *layer, int channels, int rows, int row_values,
                                    int input_values, const int8_t *weights, const int32_t *biases,
                                    const struct requantization *rule)
{
    const struct instructions *set = chosen_instructions;
    const int word_values = WORD_BYTES / set->value_bytes;
    const int row_words = (row_values + word_values - 1) / word_values;
    const int blocks = (channels + set->lanes - 1) / set->lanes;
    const int padded = blocks * set->lanes;
    struct matrix made = {layer, rows, row_words, blocks, channels, NULL, NULL, NULL, NULL, rule};
    int channel, row, value;

    if (matrix_count == MAX_LAYERS) {
        return NULL;
    }
    made.weights = zeros((size_t)rows * row_words * padded * WORD_BYTES);
    made.biases = zeros(padded * sizeof *made.biases);
    made.scales = zeros(padded * sizeof *made.scales);
    made.values = set->value_bytes == 1 ? NULL : zeros((size_t)input_values * set->value_bytes);
    if (!made.weights || !made.biases || !made.scales || (set->value_bytes > 1 && !made.values)) {
        return NULL;
    }
    for (channel = 0; channel < channels; channel++) {
        for (row = 0; row < rows; row++) {
            for (value = 0; value < row_values; value++) {
                const int word = row * row_words + value / word_values;
                const long place = ((long)word * padded + channel) * word_values
                                   + value % word_values;

                if (set->value_bytes == 1) {
                    made.weights[place] = *weights++;
                } else {
                    ((int16_t *)made.weights)[place] = *weights++;
                }
            }
        }
        made.biases[channel] = biases[channel];
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

/* Return the input as the instructions need it: unchanged, or with 16 bits a value. */
static const char *prepare(const struct matrix *matrix, const uint8_t *input, int count)
{
    uint16_t *values = (uint16_t *)matrix->values;
    int n;

    if (values == NULL) {
        return (const char *)input;
    }
    for (n = 0; n < count; n++) {
        values[n] = input[n];
    }
    return matrix->values;
}

#ifdef USES_CONVOLVE
static void convolve_by_vectors(const struct convolution *layer, const uint8_t *input,
                                uint8_t *output)
{
    const int channels = layer->input.channels;
    const int input_values = layer->input.height * layer->input.width * channels;
    const int count = layer->pool.height * layer->pool.width;
    const struct matrix *matrix = find_matrix(layer);
    const char *positions[MAX_POSITIONS];
    const char *values;
    int pitch, y, x, down, across, n;

    if (matrix == NULL && chosen_instructions != NULL) {
        matrix = arrange(layer, layer->output.channels, layer->kernel.height,
                         layer->kernel.width * channels, input_values, layer->weights,
                         layer->biases, &layer->requantization);
    }
    if (matrix == NULL || count > MAX_POSITIONS) {
        convolve(layer, input, output);
        return;
    }
    values = prepare(matrix, input, input_values);
    pitch = layer->input.width * channels * chosen_instructions->value_bytes;
    for (y = 0; y < layer->output.height; y++) {
        for (x = 0; x < layer->output.width; x++) {
            n = 0;
            for (down = 0; down < layer->pool.height; down++) {
                for (across = 0; across < layer->pool.width; across++) {
                    const int top = (y * layer->pool.height + down) * layer->stride.height;
                    const int left = (x * layer->pool.width + across) * layer->stride.width;

                    positions[n++] = values + top * pitch
                                     + left * channels * chosen_instructions->value_bytes;
                }
            }
            chosen_instructions->pixel(matrix, positions, count, pitch, output);
            output += matrix->channels;
        }
    }
}
#define convolve convolve_by_vectors
#endif

#ifdef USES_APPLY_DENSE
static void apply_dense_by_vectors(const struct dense *layer, const uint8_t *input, uint8_t *output)
{
    const struct matrix *matrix = find_matrix(layer);
    const char *values;

    if (matrix == NULL && chosen_instructions != NULL) {
        matrix = arrange(layer, layer->outputs, 1, layer->inputs, layer->inputs, layer->weights,
                         layer->biases, &layer->requantization);
    }
    if (matrix == NULL) {
        apply_dense(layer, input, output);
        return;
    }
    values = prepare(matrix, input, layer->inputs);
    chosen_instructions->pixel(matrix, &values, 1, 0, output);
}
#define apply_dense apply_dense_by_vectors
#endif
