"""Measure whether training waits for its input pipeline.

The command is `digit-edge train-throughput`. The input pipeline shuffles, augments and corrupts the
images of each batch. The command measures the training throughput once with this pipeline, and once
with batches that were prepared in memory.
"""

import sys
import time
from dataclasses import dataclass

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.system import interrupt
from train.data import load
from train.keras_import import keras_import
from train.options import add_data_argument, whole
from train.recipe import DEFAULT

BATCHES = 300  # default number of batches per round; a round has at most one epoch
ROUNDS = 3  # default number of rounds with and without the pipeline; the fastest round counts
_WARMUP_BATCHES = 5  # trained on before the clock starts: TensorFlow builds its graph meanwhile


@dataclass(frozen=True)
class Throughput:
    """The training throughput, each the best of several alternating rounds.

    Attributes:
        piped_per_s: images per second with the input pipeline.
        from_memory_per_s: images per second with the same batches, prepared in memory.
    """

    piped_per_s: float
    from_memory_per_s: float

    @property
    def ratio(self) -> float:
        """Throughput with the pipeline, relative to memory.

        It is about 1 if training never waits for the pipeline, and less if training waits.
        """
        return self.piped_per_s / self.from_memory_per_s


def measure(source: str | None, batches: int, rounds: int) -> Throughput:
    """Measure the training throughput with the input pipeline and from memory, in turn.

    Args:
        source: path of the data set, "embedded" for scikit-learn's digits, or None for a default
            data set; see `train.data.load.load`.
        batches: batches of the default recipe's size per round, at least 1. A round ends after one
            epoch at the latest: 234 batches of MNIST.
        rounds: number of rounds with the pipeline, and again from memory; at least 1.

    Raises:
        DatasetError: the data set is missing, damaged, or unsuitable for training.
    """
    with keras_import():
        import tensorflow as tf
    from train.fitting.fit import Training

    tf.config.experimental.enable_op_determinism()
    data_set = load.load(source)
    training = Training(DEFAULT, data_set.train, len(data_set.labels), seed=0)
    prepared = list(training.batches(0).take(batches))
    for _ in training.take_steps(prepared[:_WARMUP_BATCHES], 0):
        pass
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for piped in (True, False):
            start = time.perf_counter()
            fed = training.batches(0).take(batches) if piped else prepared
            for _ in training.take_steps(fed, 0):
                interrupt.check()
            seconds[piped].append(time.perf_counter() - start)
    images = len(prepared) * DEFAULT.batch_size
    return Throughput(images / min(seconds[True]), images / min(seconds[False]))


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge train-throughput` and return its exit status."""
    parser = CommandParser(
        "digit-edge train-throughput",
        "Measure whether training waits for its input pipeline.",
    )
    add_data_argument(parser, "the training images")
    parser.add_argument(
        "--batches",
        type=whole(1),
        default=BATCHES,
        metavar="N",
        help="number of batches per round (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=whole(1),
        default=ROUNDS,
        metavar="N",
        help="number of rounds with the pipeline and from memory; the fastest of each counts "
        "(default: %(default)s)",
    )
    args = parser.parse_args(argv)
    result = measure(args.data, args.batches, args.rounds)
    print(
        f"{result.piped_per_s:,.0f} images/s with the input pipeline, "
        f"{result.from_memory_per_s:,.0f} images/s from memory: ratio {result.ratio:.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
