"""The streams of random numbers of the line reader: one constant for each purpose.

A stream is seeded with the seed of the run and one of these constants; the first three also with
an index, before or after the constant. Changing the order would change all composed lines.
"""

SHUFFLE_IN_CHUNK = 1  # order of the batches of a chunk
CHUNK_ORDER = 2  # order of the chunks in a pass over the pool
TRAINING_LINES = 3  # lines of a chunk
VALIDATION_LINES = 4  # lines of the digits that are held back
TRAINED_ON_LINES = 5  # lines of the training digits, to measure on
BENCHMARK_LINES = 6  # lines of `digit-edge benchmark-lines`
