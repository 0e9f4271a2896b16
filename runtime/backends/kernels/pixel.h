/* A template of a `row_function`. A file of an instruction set defines these macros and includes
 * this file; all but NAME_OF are undefined at its end.
 *
 * NAME_OF(x): x with the name of the instruction set as prefix
 * TARGET: attribute that lets the compiler use the instructions
 * VECTOR: type of a vector register of int32
 * LANES: int32 numbers in it
 * BLOCKS: registers of channels that are computed together, at most 4
 * VALUES, WEIGHTS: types of the input and of the weights that one DOT multiplies
 * LOAD(address): read a register of int32
 * LOAD_WEIGHTS(address): read the weights of one word for LANES channels
 * REPEAT(address, at): read 32 bits of the input at address + at into each lane, or into the first
 *     lane if DOT repeats it. The macro may instead add 4 to `address`, which starts at the row of
 *     the kernel.
 * DOT(sums, values, weights): add the products of the values and weights of each lane to the sums
 * LOAD_FOUR_BLOCKS(weights, address): optional; LOAD_WEIGHTS for an array of four
 * DOT_FOUR_BLOCKS(sums, values, weights): optional; DOT for an array of four sums and weights
 * LOAD_FOUR(address), DOT_FOUR(sums, four, word, weights): optional; read four words of the input,
 *     and multiply one of them, which `word` selects
 * LARGER(a, b): maximum of each lane
 * STORE(matrix, block, sums, bytes): requantize the sums of a block, write LANES bytes
 * STORE_FOUR(matrix, block, sums, bytes): optional; STORE for an array of four sums */

/* Read the weights of one word for the channels of `blocks` registers; move *address behind them. */
TARGET static ALWAYS_INLINE void NAME_OF(load_weights)(const char **address, const int blocks,
                                                       WEIGHTS *weights)
{
    int b;

#ifdef LOAD_FOUR_BLOCKS
    if (blocks == 4) {
        LOAD_FOUR_BLOCKS(weights, *address);
    } else
#endif
#pragma GCC unroll 4
    for (b = 0; b < blocks; b++) {
        weights[b] = LOAD_WEIGHTS(*address + b * LANES * WORD_BYTES);
    }
    *address += blocks * LANES * WORD_BYTES;
}

/* Add the products of one word of the input at each position. */
TARGET static ALWAYS_INLINE void NAME_OF(add_word)(VECTOR sums[4][4], const char **addresses,
                                                   long at, const char **weights,
                                                   const int positions, const int blocks)
{
    WEIGHTS block_weights[4];
    int p, b;

    NAME_OF(load_weights)(weights, blocks, block_weights);
#pragma GCC unroll 4
    for (p = 0; p < positions; p++) {
        const VALUES values = REPEAT(addresses[p], at);

#ifdef DOT_FOUR_BLOCKS
        if (blocks == 4) {
            DOT_FOUR_BLOCKS(sums[p], values, block_weights);
            continue;
        }
#endif
#pragma GCC unroll 4
        for (b = 0; b < blocks; b++) {
            sums[p][b] = DOT(sums[p][b], values, block_weights[b]);
        }
    }
}

/* Compute `positions` x `blocks` registers of sums and write the largest of each block. If `more`,
 * the registers in `largest` count too. `weights` and `biases` are those of the blocks. The three
 * numbers are constants, so that the compiler unrolls the loops and keeps the sums in registers. */
TARGET static ALWAYS_INLINE void NAME_OF(largest)(const struct matrix *matrix, const char *weights,
                                                  const int32_t *biases, const char *corner,
                                                  const int *offsets, int pitch,
                                                  const int positions, const int blocks,
                                                  const int more, VECTOR *largest)
{
    const long row_bytes = (long)matrix->row_words * WORD_BYTES;
    VECTOR sums[4][4];
#ifdef LOAD_FOUR
    WEIGHTS block_weights[4];
#endif
    int row, p, b;

#pragma GCC unroll 4
    for (p = 0; p < positions; p++) {
#pragma GCC unroll 4
        for (b = 0; b < blocks; b++) {
            sums[p][b] = LOAD(biases + b * LANES);
        }
    }
    for (row = 0; row < matrix->rows; row++) {
        const char *addresses[4];
        long at = 0;

#pragma GCC unroll 4
        for (p = 0; p < positions; p++) {
            addresses[p] = corner + offsets[p];
        }
#ifndef __wasm__ /* the site has to be small */
        if (row_bytes == WORD_BYTES) { /* the first layer; a loop costs as much as the products */
            NAME_OF(add_word)(sums, addresses, 0, &weights, positions, blocks);
            corner += pitch;
            continue;
        }
#endif
#ifdef LOAD_FOUR
        for (; at + 4 * WORD_BYTES <= row_bytes; at += 4 * WORD_BYTES) {
            VALUES fours[4];
            int part;

#pragma GCC unroll 4
            for (p = 0; p < positions; p++) {
                fours[p] = LOAD_FOUR(addresses[p] + at);
            }
#pragma GCC unroll 4
            for (part = 0; part < 4; part++) {
                NAME_OF(load_weights)(&weights, blocks, block_weights);
#pragma GCC unroll 4
                for (b = 0; b < blocks; b++) {
#pragma GCC unroll 4
                    for (p = 0; p < positions; p++) {
                        sums[p][b] = DOT_FOUR(sums[p][b], fours[p], part, block_weights[b]);
                    }
                }
            }
        }
#endif
        for (; at < row_bytes; at += WORD_BYTES) {
            NAME_OF(add_word)(sums, addresses, at, &weights, positions, blocks);
        }
        corner += pitch;
    }
#pragma GCC unroll 4
    for (b = 0; b < blocks; b++) {
        largest[b] = more ? LARGER(largest[b], sums[0][b]) : sums[0][b];
#pragma GCC unroll 4
        for (p = 1; p < positions; p++) {
            largest[b] = LARGER(largest[b], sums[p][b]);
        }
    }
}

/* Compute `blocks` registers of channels, a constant, from the register `first` on: for each pixel
 * of a row of the output. */
TARGET static ALWAYS_INLINE void NAME_OF(channels)(const struct matrix *matrix,
                                                   const struct positions *positions,
                                                   const char *corner, int first, const int blocks,
                                                   uint8_t *output)
{
    const struct matrix copy = *matrix; /* the compiler knows that `output` does not change it */
    const int left = copy.channels - first * LANES;
    const char *weights =
        copy.weights + (long)first * copy.rows * copy.row_words * LANES * WORD_BYTES;
    const int32_t *biases = copy.biases + first * LANES;
    const int *offsets = positions->offsets;
    const int count = positions->count, pitch = positions->pitch;
    uint8_t bytes[4 * MAX_LANES];
    VECTOR largest[4];
    int x, n, b;

    output += first * LANES;
    for (x = 0; x < positions->pixels; x++) {
        uint8_t *target = left >= blocks * LANES ? output : bytes;

        if (count >= 4) {
            NAME_OF(largest)(&copy, weights, biases, corner, offsets, pitch, 4, blocks, 0, largest);
            n = 4;
        } else {
            NAME_OF(largest)(&copy, weights, biases, corner, offsets, pitch, 1, blocks, 0, largest);
            n = 1;
        }
        for (; n < count; n++) {
            NAME_OF(largest)(&copy, weights, biases, corner, offsets + n, pitch, 1, blocks, 1,
                             largest);
        }
#ifdef STORE_FOUR
        if (blocks == 4) {
            STORE_FOUR(&copy, first, largest, target);
        } else
#endif
#pragma GCC unroll 4
        for (b = 0; b < blocks; b++) {
            STORE(&copy, first + b, largest[b], target + b * LANES);
        }
        if (target == bytes) {
            memcpy(output, bytes, left);
        }
        corner += positions->step;
        output += copy.channels;
    }
}

TARGET static void NAME_OF(row)(const struct matrix *matrix, const struct positions *positions,
                                const char *corner, uint8_t *output)
{
    int first = 0;

    for (; first + BLOCKS <= matrix->blocks; first += BLOCKS) {
        NAME_OF(channels)(matrix, positions, corner, first, BLOCKS, output);
    }
    for (; first + 2 <= matrix->blocks; first += 2) {
        NAME_OF(channels)(matrix, positions, corner, first, 2, output);
    }
    for (; first < matrix->blocks; first++) {
        NAME_OF(channels)(matrix, positions, corner, first, 1, output);
    }
}

#undef TARGET
#undef VECTOR
#undef LANES
#undef BLOCKS
#undef VALUES
#undef WEIGHTS
#undef LOAD
#undef LOAD_WEIGHTS
#undef REPEAT
#undef DOT
#undef DOT_FOUR_BLOCKS
#undef LOAD_FOUR
#undef LOAD_FOUR_BLOCKS
#undef DOT_FOUR
#undef LARGER
#undef STORE
#undef STORE_FOUR
