"""Measure whether training waits for its input pipeline.

It compares the training throughput with the input pipeline (augmentation included) and with
prepared batches in memory.
"""

import os
import sys
import time
from dataclasses import dataclass

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.system import interrupt
from runtime.system.native_output import suppress_native_output
from train.data import load
from train.options import add_data_argument, whole
from train.recipe import DEFAULT

BATCHES = 300  # per round
ROUNDS = 3  # of each of the two measurements; the fastest counts
_WARMUP_BATCHES = 5  # before the measurement, so that TensorFlow has built its graph


@dataclass(frozen=True)
class Throughput:
    """The training throughput in images per second, the best of several alternating rounds.

    Attributes:
        piped_per_s: with the input pipeline.
        from_memory_per_s: with the same batches, prepared in memory.
    """

    piped_per_s: float
    from_memory_per_s: float

    @property
    def ratio(self) -> float:
        """Throughput with the pipeline relative to memory; 1 if training never waits for it."""
        return self.piped_per_s / self.from_memory_per_s


def measure(source: str | None, batches: int, rounds: int) -> Throughput:
    """Measure the training throughput with the input pipeline and from memory, in turn.

    Args:
        source: see `train.data.load.load`.
        batches: batches per round, of the default recipe's size.
        rounds: rounds of each measurement.

    Raises:
        DatasetError: the source is missing, damaged, or unsuitable for training.
    """
    with interrupt.at_once(), suppress_native_output(2):
        import tensorflow as tf
    from train.fit import Training

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
        help="batches per round (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=whole(1),
        default=ROUNDS,
        metavar="N",
        help="rounds of each measurement; the fastest counts (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    result = measure(args.data, args.batches, args.rounds)
    print(
        f"{result.piped_per_s:,.0f} images/s with the input pipeline, "
        f"{result.from_memory_per_s:,.0f} from memory: ratio {result.ratio:.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
