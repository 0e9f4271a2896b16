"""python -m train: trains the network and saves it as an artifact that explains itself."""

import argparse
import shlex
import sys
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.system import interrupt
from train import recipe
from train.options import whole
from train.recipe import DEFAULT, FAST, PUBLISHED, Recipe

DEFAULT_OUT = Path("models/digits.keras")
# 5,000 of MNIST's 60,000.
DEFAULT_VALIDATION = 1 / 12


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train the nine-layer CNN on labeled images and save it with its spec as one "
        "file; its plots and its history stand beside it.",
        epilog="Without --data: $DIGIT_EDGE_DATA, else MNIST from the user's cache, else MNIST "
        "downloaded, else the 1,797 digits embedded in scikit-learn. The settings: "
        "train/RECIPE.md. Exit status: 0 saved, 2 bad input, 130 interrupted.",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="a folder of IDX files, an .npz, a folder with one subfolder of images a class, or "
        "'embedded' for the embedded digits",
    )
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="images are 28x28, light on dark, centered as MNIST's are; without it the runtime's "
        "preprocessing brings them into that form",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_OUT,
        metavar="PATH",
        help="the .keras file to write; plots and history take its name (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole(0),
        default=0,
        metavar="N",
        help="of everything random: the same one gives the same file (default: %(default)s)",
    )
    parser.add_argument(
        "--validation",
        type=_held_back,
        default=DEFAULT_VALIDATION,
        metavar="N",
        help="training images, or their share, held back to choose by (default: a twelfth)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--published",
        action="store_const",
        const=PUBLISHED,
        default=DEFAULT,
        dest="recipe",
        help=f"as the published artifacts were made: {PUBLISHED.epochs} epochs, the last third "
        "with images that are gray, noisy, blurred or partly covered",
    )
    kind.add_argument(
        "--fast",
        action="store_const",
        const=FAST,
        dest="recipe",
        help=f"{FAST.epochs} epochs with slight distortions in place of {DEFAULT.epochs}",
    )
    parser.add_argument(
        "--epochs",
        type=whole(1),
        metavar="N",
        help="passes over the images (default: the recipe's)",
    )
    parser.add_argument(
        "--batch-size", type=whole(1), metavar="N", help="images a step (default: the recipe's)"
    )
    parser.add_argument(
        "--learning-rate", type=_rate, metavar="RATE", help="its peak (default: the recipe's)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="change any other setting of the recipe, as dropout=0.2; may be repeated",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an interrupted run of the same settings; it ends in the same bytes",
    )
    return parser.parse_args(argv)


def choose_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that the options ask for."""
    settings = [
        f"{name}={value}"
        for name in ("epochs", "batch_size", "learning_rate")
        if (value := getattr(args, name)) is not None
    ]
    return recipe.changed(args.recipe, settings + args.settings)


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    chosen = choose_recipe(args)
    options = shlex.join([*(a for a in argv if a != "--resume"), "--resume"])
    interrupt.report_as(f"interrupted; go on with: python -m train {options}")
    with interrupt.deferred():
        with interrupt.at_once():
            from train import run
        run.run(chosen, args.data, args.as_is, args.seed, args.validation, args.out, args.resume)
    return 0


def _rate(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a rate above 0 and up to 1")
    return value


def _held_back(text: str) -> float:
    value = _number(text)
    if not (0 < value < 1 or (value >= 1 and value.is_integer())):
        raise argparse.ArgumentTypeError(f"{text} is neither a number of images nor a share")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
