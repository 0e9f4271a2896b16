"""python -m train.throughput: images a second, with the input pipeline and fed from memory."""

import argparse
import os
import sys
import time
from dataclasses import dataclass

from runtime.cli.exit_status import exit_status
from runtime.system import interrupt
from runtime.system.native_output import suppress_native_output
from train.data import load
from train.options import whole
from train.recipe import DEFAULT

BATCHES = 300
ROUNDS = 3


@dataclass(frozen=True)
class Throughput:
    """Images a second of one training run; each the best of several rounds taken in turn."""

    piped_per_s: float
    from_memory_per_s: float

    @property
    def ratio(self) -> float:
        """1 where the network never waits for an image."""
        return self.piped_per_s / self.from_memory_per_s


def measure(source: str | None, batches: int, rounds: int) -> Throughput:
    """Train on distorted images as they are made, and on the same ones made before.

    Args:
        source: see `train.data.load.load`.
        batches: a round, of the default recipe's size.
        rounds: of each kind.

    Raises:
        DatasetError: the source is absent, damaged, or unfit to train on.
    """
    with interrupt.at_once(), suppress_native_output(2):
        import tensorflow as tf
    from train.fit import Training

    tf.config.experimental.enable_op_determinism()
    data_set = load.load(source)
    training = Training(DEFAULT, data_set.train, len(data_set.labels), seed=0)
    kept = list(training.batches(0).take(batches))
    for _ in training.take_steps(kept[:5], 0):  # builds the graph
        pass
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for piped in (True, False):
            start = time.perf_counter()
            for _ in training.take_steps(training.batches(0).take(batches) if piped else kept, 0):
                interrupt.check()
            seconds[piped].append(time.perf_counter() - start)
    images = len(kept) * DEFAULT.batch_size
    return Throughput(images / min(seconds[True]), images / min(seconds[False]))


def main(argv: list[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m train.throughput",
        description="Measure whether training waits for its input pipeline.",
    )
    parser.add_argument("--data", metavar="PATH", help="as for python -m train")
    parser.add_argument(
        "--batches", type=whole(1), default=BATCHES, help="a round; default: %(default)s"
    )
    parser.add_argument("--rounds", type=whole(1), default=ROUNDS, help="default: %(default)s")
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    found = measure(args.data, args.batches, args.rounds)
    print(
        f"{found.piped_per_s:,.0f} images/s with the input pipeline, "
        f"{found.from_memory_per_s:,.0f} from memory: ratio {found.ratio:.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
