"""Measure accuracy on digits at random places on a page.

`digit-edge benchmark-placement` runs this module. The pages are preprocessed like photographs; the
pixels of the data set are given to the model directly. The difference between the two accuracies is
therefore the cost of the preprocessing.
"""

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness.test_set import TestSet, load_test_set
from benchmarks.report.formats import counted
from runtime.classifier import Classifier
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, EdgeError, printable
from train.options import add_data_argument

# Largest accuracy on pixels minus accuracy on pages, each 0 to 1; beyond it, the benchmark fails.
MAX_ACCURACY_DROP = 0.005
_SIDE_PX = 28  # width and height of MNIST's images
SCALE_RANGE = (0.7, 10.0)  # least and largest side of a digit on a page, in multiples of _SIDE_PX

# Least and largest width of a page, in multiples of the side of its digit; the same for its height.
PAGE_RANGE = (1.2, 3.0)
_ROUNDED_DECIMALS = 9  # the difference is rounded, because 0.99 − 0.985 > 0.005 in binary fractions


@dataclass(frozen=True)
class PlacementResult:
    """The accuracy of a model on the same digits as pixels and on pages.

    The result is true if the accuracy on pages is at most `MAX_ACCURACY_DROP` lower.

    Attributes:
        artifact: the file name of the artifact.
        n: number of digits.
        accuracy_pixels: accuracy on the pixels of the data set, 0 to 1.
        accuracy_pages: accuracy on the pages, 0 to 1.
    """

    artifact: str
    n: int
    accuracy_pixels: float
    accuracy_pages: float

    def __bool__(self) -> bool:
        drop = round(self.accuracy_pixels - self.accuracy_pages, _ROUNDED_DECIMALS)
        return drop <= MAX_ACCURACY_DROP

    def __str__(self) -> str:
        return (
            f"{self.artifact}: accuracy on {counted(self.n, 'digit')} "
            f"{self.accuracy_pixels:.2%} as pixels, {self.accuracy_pages:.2%} at a random "
            f"place on a white page (allowed loss: "
            f"{100 * MAX_ACCURACY_DROP:g} points): {'PASS' if self else 'FAIL'}"
        )


def measure(classifier: Classifier, test_set: TestSet, name: str, seed: int = 0) -> PlacementResult:
    """Classify each image of `test_set` as pixels, and as a PNG file of a page that contains it.

    Args:
        classifier: the model.
        test_set: the images and labels.
        name: the name of the model in the result and in messages.
        seed: seed of the random sizes and positions, 0 or more; the same seed gives the same pages.

    Raises:
        DatasetError: the classes of the images are not those of the model.
    """
    test_set.check_classes(classifier.spec.labels, name)
    labels = np.array(test_set.class_names)[test_set.labels]
    correct_pixels = classifier.scores(test_set.pixels).argmax(axis=1) == test_set.labels
    generator = np.random.default_rng(seed)
    correct_pages = [
        classifier.classify(page(pixels, generator)).label == label
        for pixels, label in zip(test_set.pixels, labels, strict=True)
    ]
    return PlacementResult(
        name, len(labels), float(correct_pixels.mean()), float(np.mean(correct_pages))
    )


def page(pixels: npt.NDArray[np.uint8], generator: np.random.Generator) -> bytes:
    """Return a PNG file of a white page with a black digit of random size at a random position.

    Args:
        pixels: the digit, (28, 28, 1) uint8, with 0 for background and 255 for ink.
        generator: source of the digit's size and position and the page's size.
    """
    from PIL import Image

    # Log-uniform: otherwise most digits would be large.
    side = round(_SIDE_PX * float(np.exp(generator.uniform(*np.log(SCALE_RANGE)))))
    digit = Image.fromarray(255 - pixels[:, :, 0]).resize((side, side), Image.Resampling.BICUBIC)
    width, height = (round(side * factor) for factor in generator.uniform(*PAGE_RANGE, size=2))
    paper = Image.new("L", (width, height), 255)
    left, top = generator.integers(0, (width - side + 1, height - side + 1))
    paper.paste(digit, (int(left), int(top)))
    file = io.BytesIO()
    paper.save(file, "PNG", compress_level=1)
    return file.getvalue()


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the options, without the program's name; None for those of this process.

    Returns:
        The exit status: 0, or 3 if the accuracy on pages is more than `MAX_ACCURACY_DROP` lower.

    Raises:
        EdgeError: an option, the model or the data set is invalid.
    """
    parser = CommandParser(
        "digit-edge benchmark-placement",
        "Measure the accuracy on test digits drawn at random sizes and positions on a white page.",
        {0: "passed", 3: "too much accuracy is lost on the pages"},
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/digits-int8.tflite"),
        metavar="PATH",
        help="the artifact to measure (default: %(default)s)",
    )
    add_data_argument(parser, "the test digits")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the random sizes and positions (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    if arguments.seed < 0:
        raise EdgeError(f"--seed takes 0 or more, not {arguments.seed}")
    classifier = Classifier.load(arguments.model)
    test_set = load_test_set(arguments.data)
    result = measure(classifier, test_set, arguments.model.name, arguments.seed)
    print(printable(str(result)))
    return 0 if result else CHECK_FAILED  # a result is true if it passes


if __name__ == "__main__":
    sys.exit(exit_status(main))
