"""Train settings × seeds in many processes, and compare.

This module parses the options; `train.sweep.run` does the work.
"""

import argparse
import importlib.util
import shlex
import sys
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import EdgeError
from runtime.system import interrupt
from train import recipe
from train.options import whole
from train.recipe import DEFAULT, FAST, PUBLISHED

_SEEDS = 5  # default number of seeds of each setting


def main(argv: list[str] | None = None) -> int:
    """Train what is not trained yet, and print the table; return 0, or 2 if a run failed."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse_args(argv)
    base = recipe.changed(arguments.recipe, _fixed(arguments))
    varied = _varied(arguments.vary)
    for name, values in varied.items():
        for value in values:
            recipe.changed(base, [f"{name}={value}"])  # raises an EdgeError if it is invalid
    if importlib.util.find_spec("optuna") is None:
        raise EdgeError('optuna is not installed: pip install "digit-edge[sweep]"')
    command = shlex.join(["digit-edge", "train-sweep", *argv])
    interrupt.report_as(f"interrupted; continue with: {command}")
    with interrupt.at_once():
        from train.sweep import run
    return run.run(
        arguments.out,
        arguments.storage,
        base,
        varied,
        arguments.seeds,
        [*_train_arguments(arguments), *(f"--set={setting}" for setting in _fixed(arguments))],
    )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge train-sweep",
        "Train each combination of settings with several seeds, and compare their accuracy on "
        "validation images with that of the recipe. Start the same command several times, also on "
        "other machines that share FOLDER, to train in parallel; start it again to continue.",
        {0: "every run has ended", 130: "interrupted by Ctrl-C; the same command continues"},
        "Without --vary, only the recipe itself is trained. --data, --writers and --validation are "
        "those of digit-edge train: with MNIST's writers, validation images are of other writers.",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="the folder of the study"
    )
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=A,B,…",
        help="train with each of these values of a setting of the recipe, such as "
        "dropout=0.2,0.4; if repeated, with each combination",
    )
    parser.add_argument(
        "--seeds",
        type=whole(1),
        default=_SEEDS,
        metavar="N",
        help="train each combination with the seeds 0 to N-1 (default: %(default)s)",
    )
    parser.add_argument(
        "--storage",
        default="sqlite",
        metavar="NAME",
        help="where Optuna keeps the study: sqlite or journal, a file in FOLDER (journal for NFS), "
        "or the URL of a database (default: %(default)s)",
    )
    parser.add_argument("--data", metavar="PATH", help="the data set, see digit-edge train")
    parser.add_argument(
        "--as-is", action="store_true", help="use the images unchanged, see digit-edge train"
    )
    parser.add_argument(
        "--writers", metavar="FILE", help="the writers of MNIST's images, see digit-edge train"
    )
    parser.add_argument(
        "--validation",
        metavar="N",
        help="number or share of the training images held back (default: a twelfth)",
    )
    kind = parser.add_mutually_exclusive_group()
    for name, preset in (("--published", PUBLISHED), ("--fast", FAST)):
        kind.add_argument(
            name,
            action="store_const",
            const=preset,
            default=DEFAULT,
            dest="recipe",
            help=f"vary the recipe of digit-edge train {name}",
        )
    parser.add_argument(
        "--epochs",
        type=whole(1),
        metavar="N",
        help="passes over the images (default: the recipe's)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="change a setting of every run; may be repeated",
    )
    return parser.parse_args(argv)


def _fixed(arguments: argparse.Namespace) -> list[str]:
    epochs = [] if arguments.epochs is None else [f"epochs={arguments.epochs}"]
    return [*epochs, *arguments.settings]


def _varied(options: list[str]) -> dict[str, list[str]]:
    """Return the values of each varied setting.

    Raises:
        EdgeError: an option has no value, or names a setting twice.
    """
    varied: dict[str, list[str]] = {}
    for option in options:
        name, _, values = option.partition("=")
        if not all(values.split(",")):
            raise EdgeError(f"--vary {option}: pass NAME=A,B,… with one or more numbers")
        if name in varied:
            raise EdgeError(f"--vary {option}: {name} is varied twice; pass all its values at once")
        varied[name] = values.split(",")
    return varied


def _train_arguments(arguments: argparse.Namespace) -> list[str]:
    """Return the arguments of `digit-edge train` that are the same in every run."""
    passed = []
    for name in ("data", "writers", "validation"):
        value = getattr(arguments, name)
        if value is not None:
            passed.append(f"--{name}={value}")
    if arguments.as_is:
        passed.append("--as-is")
    if arguments.recipe is not DEFAULT:
        passed.append(f"--{arguments.recipe.name}")
    return passed


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
