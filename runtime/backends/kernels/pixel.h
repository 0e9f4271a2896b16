/* A template of a `pixel_function`. A file of an instruction set defines these macros and includes
 * this file; all but NAME_OF are undefined at its end.
 *
 * NAME_OF(x): x with the name of the instruction set as prefix
 * TARGET: attribute that lets the compiler use the instructions
 * VECTOR: type of a vector register of int32
 * LANES: int32 numbers in it
 * BLOCKS: registers of channels that are computed together, at most 4
 * LOAD(address): read a register
 * REPEAT(address): read 32 bits into each lane
 * DOT(sums, values, weights): add the products of the values and weights of each lane to the sums
 * LARGER(a, b): maximum of each lane
 * LOWEST: a register of the lowest int32
 * STORE(matrix, block, sums, bytes): requantize the sums of a block, write LANES bytes */

/* Compute `positions` x `blocks` registers of sums and keep the largest of each block. Both numbers
 * are constants, so that the compiler unrolls the loops and keeps the sums in registers. */
TARGET static ALWAYS_INLINE void NAME_OF(largest)(const struct matrix *matrix,
                                                  const char *const *addresses, int pitch,
                                                  int first, const int positions,
                                                  const int blocks, VECTOR *largest)
{
    const int register_bytes = LANES * WORD_BYTES;
    const int step = matrix->blocks * register_bytes;
    const char *weights = matrix->weights + first * register_bytes;
    VECTOR sums[4][4], block_weights[4];
    long offset = 0;
    int row, word, p, b;

#pragma GCC unroll 4
    for (p = 0; p < positions; p++) {
#pragma GCC unroll 4
        for (b = 0; b < blocks; b++) {
            sums[p][b] = LOAD(matrix->biases + (first + b) * LANES);
        }
    }
    for (row = 0; row < matrix->rows; row++) {
        for (word = 0; word < matrix->row_words; word++) {
#pragma GCC unroll 4
            for (b = 0; b < blocks; b++) {
                block_weights[b] = LOAD(weights + b * register_bytes);
            }
#pragma GCC unroll 4
            for (p = 0; p < positions; p++) {
                const VECTOR values = REPEAT(addresses[p] + offset + word * WORD_BYTES);

#pragma GCC unroll 4
                for (b = 0; b < blocks; b++) {
                    sums[p][b] = DOT(sums[p][b], values, block_weights[b]);
                }
            }
            weights += step;
        }
        offset += pitch;
    }
#pragma GCC unroll 4
    for (b = 0; b < blocks; b++) {
#pragma GCC unroll 4
        for (p = 0; p < positions; p++) {
            largest[b] = LARGER(largest[b], sums[p][b]);
        }
    }
}

/* As above, for the numbers of positions and blocks that are not constants. */
TARGET static ALWAYS_INLINE void NAME_OF(largest_of)(const struct matrix *matrix,
                                                     const char *const *addresses, int count,
                                                     int pitch, int first, const int blocks,
                                                     uint8_t *output)
{
    const int left = matrix->channels - first * LANES;
    uint8_t bytes[4 * MAX_LANES];
    VECTOR largest[4];
    int n, b;

#pragma GCC unroll 4
    for (b = 0; b < blocks; b++) {
        largest[b] = LOWEST;
    }
    for (n = 0; n + 4 <= count; n += 4) {
        NAME_OF(largest)(matrix, addresses + n, pitch, first, 4, blocks, largest);
    }
    for (; n < count; n++) {
        NAME_OF(largest)(matrix, addresses + n, pitch, first, 1, blocks, largest);
    }
    if (left >= blocks * LANES) {
#pragma GCC unroll 4
        for (b = 0; b < blocks; b++) {
            STORE(matrix, first + b, largest[b], output + (first + b) * LANES);
        }
        return;
    }
#pragma GCC unroll 4
    for (b = 0; b < blocks; b++) {
        STORE(matrix, first + b, largest[b], bytes + b * LANES);
    }
    memcpy(output + first * LANES, bytes, left);
}

TARGET static void NAME_OF(pixel)(const struct matrix *matrix, const char *const *positions,
                                  int count, int pitch, uint8_t *output)
{
    int first = 0;

    for (; first + BLOCKS <= matrix->blocks; first += BLOCKS) {
        NAME_OF(largest_of)(matrix, positions, count, pitch, first, BLOCKS, output);
    }
    for (; first + 2 <= matrix->blocks; first += 2) {
        NAME_OF(largest_of)(matrix, positions, count, pitch, first, 2, output);
    }
    for (; first < matrix->blocks; first++) {
        NAME_OF(largest_of)(matrix, positions, count, pitch, first, 1, output);
    }
}

#undef TARGET
#undef VECTOR
#undef LANES
#undef BLOCKS
#undef LOAD
#undef REPEAT
#undef DOT
#undef LARGER
#undef LOWEST
#undef STORE
