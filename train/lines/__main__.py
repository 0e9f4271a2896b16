"""python -m train.lines: trains the line reader and saves it as an artifact."""

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.system import interrupt
from train.lines.recipe import LineRecipe
from train.options import whole

DEFAULT_OUT = Path("models/lines.keras")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    default = LineRecipe()
    parser = argparse.ArgumentParser(
        prog="python -m train.lines",
        description="Train the network that reads lines of digits, with the CTC loss, on lines "
        "composed of single digits, and save it with its spec as one file.",
        epilog="Without --data the digits are found as python -m train finds them. "
        "Exit status: 0 saved, 2 bad input, 130 interrupted.",
    )
    parser.add_argument(
        "--data", metavar="PATH", help="a data set of the ten digits, see python -m train"
    )
    parser.add_argument(
        "--writers",
        type=Path,
        metavar="PATH",
        help="QMNIST's qmnist-train-labels-idx2-int.gz: lines are then of one writer each, and "
        "the writers that are validated with are not trained on",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_OUT,
        metavar="PATH",
        help="the .keras file to write (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="of everything random (default: 0)"
    )
    parser.add_argument(
        "--lines",
        type=whole(1),
        default=default.lines,
        metavar="N",
        help="lines to train on in all (default: %(default)s)",
    )
    parser.add_argument(
        "--pool",
        type=whole(1),
        default=default.pool,
        metavar="N",
        help="different lines among them (default: %(default)s)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with an interrupted run of the same settings"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train; return the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    validated = min(LineRecipe.validation_lines, max(args.lines // 20, 50))
    recipe = dataclasses.replace(
        LineRecipe(), lines=args.lines, pool=args.pool, validation_lines=validated
    )
    options = shlex.join([*(a for a in argv if a != "--resume"), "--resume"])
    interrupt.report_as(f"interrupted; go on with: python -m train.lines {options}")
    with interrupt.deferred():
        with interrupt.at_once():
            from train.lines import run
        run.run(recipe, args.data, args.writers, args.seed, args.out, args.resume)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
