"""Train the CNN on a data set and save it with its spec.

The command is `digit-edge train`. This module parses the options; `train.run` does the work.
"""

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.preprocess.form import FORMS, INK, MNIST_FORM, PHOTO, Form
from runtime.system import interrupt
from runtime.system.file_lock import locked
from train import recipe
from train.options import DATA_FORMS, IN_USE, whole
from train.recipe import DEFAULT, FAST, PUBLISHED, Recipe

DEFAULT_OUT = Path("models/digits.keras")  # written without --out, in the working directory
# Share of the training images held back for validation without --validation: 5,000 of MNIST's
# 60,000.
DEFAULT_VALIDATION_SHARE = 1 / 12
_MIN_SIDE_PX = 16  # of --size; smaller images hardly show their classes
_MAX_SIDE_PX = 96  # of --size; two cores train larger ones in hours


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge train",
        "Train the nine-layer CNN on labeled images and save it with its spec as one "
        "file. Its plots and its history are written next to that file.",
        {0: "saved", 130: "interrupted by Ctrl-C; --resume continues"},
        "Without --data, the first of these is used: $DIGIT_EDGE_DATA, MNIST in the user's cache, "
        "MNIST downloaded, the 1,797 digits embedded in scikit-learn. train/RECIPE.md describes "
        "the settings.",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help=f"labeled images: {DATA_FORMS} (default: see below)",
    )
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="use the images unchanged: they are 28x28, light on dark and centered as MNIST's are; "
        "without it, the runtime's preprocessing converts them",
    )
    parser.add_argument(
        "--size",
        type=_size,
        default=MNIST_FORM.size,
        metavar="HxW",
        help="height and width of the network's input in pixels, each from "
        f"{_MIN_SIDE_PX} to {_MAX_SIDE_PX}: 32x20 is 32 high and 20 wide (default: 28x28)",
    )
    parser.add_argument(
        "--color",
        action="store_true",
        help="train on colors: red, green and blue (default: gray)",
    )
    parser.add_argument(
        "--form",
        choices=FORMS,
        metavar="NAME",
        help="ink: the ink of one character, found, cropped and centered; photo: whole images, "
        "resized, and varied in light, position and sharpness (default: ink; with --color photo)",
    )
    parser.add_argument(
        "--network",
        metavar="FILE.py:NAME",
        help="train a network of your own: a function that gets the input shape (height, width, "
        "channels) and the number of classes and returns a Keras model",
    )
    parser.add_argument(
        "--teacher",
        action="append",
        type=Path,
        default=[],
        dest="teachers",
        metavar="FILE",
        help="learn the scores of a trained .keras file of the same classes too (distillation); "
        "may be repeated, the scores are then averaged",
    )
    parser.add_argument(
        "--start-from",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="start from the weights of a trained .keras file of the same classes, at half the "
        "learning rate (fine-tuning); may be repeated, the weights are then averaged",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_OUT,
        metavar="FILE",
        help="the .keras file to write; its name begins those of the plots and the history "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole(0),
        default=0,
        metavar="N",
        help="random seed; the same seed gives the same file (default: %(default)s)",
    )
    parser.add_argument(
        "--validation",
        type=_count_or_share,
        default=DEFAULT_VALIDATION_SHARE,
        metavar="N",
        help="number or share of the training images held back for validation (default: a twelfth)",
    )
    parser.add_argument(
        "--writers",
        metavar="FILE",
        help="QMNIST's qmnist-train-labels-idx2-int.gz, which names the writer of each image of "
        "MNIST, or 'download': the validation images are then of writers who are not in the "
        "training images (default: the file beside MNIST's, if it is there)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--published",
        action="store_const",
        const=PUBLISHED,
        dest="recipe",
        help=f"the recipe of the published artifacts: {PUBLISHED.epochs} epochs, the last "
        f"{PUBLISHED.corrupted_fraction:.0%}% with some images low in contrast, noisy, blurred or "
        "partly covered",
    )
    kind.add_argument(
        "--fast",
        action="store_const",
        const=FAST,
        dest="recipe",
        help=f"{FAST.epochs} epochs instead of {DEFAULT.epochs}, with slighter augmentation",
    )
    parser.add_argument(
        "--epochs",
        type=whole(0),
        metavar="N",
        help="passes over the images (default: the recipe's); 0 only calibrates the mean of the "
        "networks of --start-from",
    )
    parser.add_argument(
        "--batch-size", type=whole(1), metavar="N", help="images per step (default: the recipe's)"
    )
    parser.add_argument(
        "--learning-rate",
        type=_rate,
        metavar="X",
        help="peak learning rate (default: the recipe's)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="change any other setting of the recipe, such as dropout=0.2; may be repeated",
    )
    parser.add_argument(
        "--log",
        choices=["tensorboard"],
        metavar="NAME",
        help="write the history in another form too; tensorboard: event files in a folder next to "
        "the model, for tensorboard --logdir",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run with the same settings; the result has the same bytes as "
        "without the interruption",
    )
    arguments = parser.parse_args(argv)
    if arguments.color and arguments.form == INK:
        parser.error("--form ink has no color: leave out --color, or pass --form photo")
    if arguments.start_from and arguments.network is not None:
        parser.error(
            "--start-from has the weights of digit-edge's own network: leave out --network"
        )
    if arguments.epochs == 0 and not arguments.start_from:
        parser.error("--epochs 0 trains nothing: pass --start-from, or at least one epoch")
    name = arguments.form or (PHOTO if arguments.color else INK)
    arguments.form = Form(name, (*arguments.size, 3 if arguments.color else 1))
    if arguments.recipe is None:
        arguments.recipe = DEFAULT if arguments.form == MNIST_FORM else recipe.PHOTO
    return arguments


def choose_recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe that the options select and change.

    Args:
        args: the options, as `parse_args` returns them.

    Raises:
        EdgeError: --set names an unknown setting, or a value is not in the setting's range.
    """
    settings = [
        f"{name}={value}"
        for name in ("batch_size", "learning_rate")
        if (value := getattr(args, name)) is not None
    ]
    chosen = args.recipe
    if args.epochs is not None:
        chosen = dataclasses.replace(chosen, epochs=args.epochs)
    if args.start_from:
        chosen = dataclasses.replace(chosen, learning_rate=chosen.learning_rate / 2)
    return recipe.changed(chosen, settings + args.settings)


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge train` and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    chosen = choose_recipe(args)
    options = shlex.join([*(a for a in argv if a != "--resume"), "--resume"])
    interrupt.report_as(f"interrupted; continue with: digit-edge train {options}")
    with interrupt.deferred(), locked(args.out, IN_USE):
        with interrupt.at_once():
            from train import run, user_network
            from train.model import Network
        network = Network(args.form)
        if args.network is not None:
            network = user_network.load(args.network, network)
        run.run(
            chosen,
            args.data,
            args.as_is,
            args.seed,
            args.validation,
            args.out,
            args.resume,
            args.writers,
            log=args.log is not None,
            network=network,
            teacher_paths=args.teachers,
            start_paths=args.start_from,
        )
    return 0


def _size(text: str) -> tuple[int, int]:
    height, separator, width = text.partition("x")
    if not (
        separator
        and all(
            side.isdecimal() and _MIN_SIDE_PX <= int(side) <= _MAX_SIDE_PX
            for side in (height, width)
        )
    ):
        raise argparse.ArgumentTypeError(
            f"{text} is not HEIGHTxWIDTH with sides from {_MIN_SIDE_PX} to {_MAX_SIDE_PX}, such "
            "as 32x20 for images 32 high and 20 wide"
        )
    return int(height), int(width)


def _rate(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and at most 1")
    return value


def _count_or_share(text: str) -> float:
    value = _number(text)
    if not (0 < value < 1 or (value >= 1 and value.is_integer())):
        raise argparse.ArgumentTypeError(
            f"{text} is neither a number of images (1, 2, …) nor a share between 0 and 1"
        )
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
