"""Train the line reader and save it with its spec.

The command is `digit-edge train-lines`. This module parses the options; `train.lines.run` does the
work.
"""

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.system import interrupt
from runtime.system.file_lock import locked
from train.lines.recipe import LineRecipe
from train.options import IN_USE, add_data_argument, whole

DEFAULT_OUT = Path("models/lines.keras")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command's options."""
    default = LineRecipe()
    parser = CommandParser(
        "digit-edge train-lines",
        "Train the network that reads lines of digits, with the CTC loss, on lines "
        "composed of single digits, and save it with its spec as one file.",
        {0: "saved", 130: "interrupted by Ctrl-C; --resume continues"},
    )
    add_data_argument(parser, "a data set of the ten digits")
    parser.add_argument(
        "--writers",
        type=Path,
        metavar="FILE",
        help="QMNIST's qmnist-train-labels-idx2-int.gz: each line is then mostly of one writer, "
        "and the validation lines are of writers who are not trained on",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_OUT,
        metavar="FILE",
        help="the .keras file to write (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="random seed (default: %(default)s)"
    )
    parser.add_argument(
        "--lines",
        type=whole(1),
        default=default.lines,
        metavar="N",
        help="number of lines to train on (default: %(default)s)",
    )
    parser.add_argument(
        "--pool",
        type=whole(1),
        default=default.pool,
        metavar="N",
        help="number of different lines among them (default: %(default)s)",
    )
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="FILE",
        help="start from the weights of this line reader, a .keras file, at half the learning rate",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue an interrupted run of the same options"
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
    if args.start_from is not None:
        recipe = dataclasses.replace(recipe, learning_rate=recipe.learning_rate / 2)
    options = shlex.join([*(a for a in argv if a != "--resume"), "--resume"])
    interrupt.report_as(f"interrupted; continue with: digit-edge train-lines {options}")
    with interrupt.deferred(), locked(args.out, IN_USE):
        with interrupt.at_once():
            from train.lines import run
        run.run(recipe, args.data, args.writers, args.seed, args.out, args.resume, args.start_from)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
