"""Measure accuracy on digits at random places on a page.

Run as digit-edge benchmark-placement. The pages are preprocessed like photographs, so the accuracy
lost in comparison with the bare pixels is the cost of the preprocessing.
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

MAX_ACCURACY_DROP = 0.005  # 0 to 1; the benchmark fails if pages lose more than this
SCALE_RANGE = (0.7, 10.0)  # size of a digit on the page, in multiples of its 28 pixels in MNIST
PAGE_RANGE = (1.2, 3.0)  # width and height of the page, each in multiples of the digit's side


@dataclass(frozen=True)
class PlacementResult:
    """The accuracy of a model on the same digits as pixels and on pages; true if it passes.

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
        return round(self.accuracy_pixels - self.accuracy_pages, 9) <= MAX_ACCURACY_DROP

    def __str__(self) -> str:
        return (
            f"{self.artifact}: {self.accuracy_pixels:.2%} of {counted(self.n, 'digit')} as pixels, "
            f"{self.accuracy_pages:.2%} placed at random on a page, black on white "
            f"(at most {100 * MAX_ACCURACY_DROP:g} points less: {'PASS' if self else 'FAIL'})"
        )


def measure(classifier: Classifier, test_set: TestSet, name: str, seed: int = 0) -> PlacementResult:
    """Classify each image of `test_set` as pixels, and as a PNG file of a page that contains it.

    Args:
        classifier: the model.
        test_set: the images and labels.
        name: the name of the model in the result and in messages.
        seed: seed of the random sizes and positions.

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
        pixels: the digit, (28, 28, 1) uint8, white on black.
        generator: source of the size and the position.
    """
    from PIL import Image

    # Log-uniform, so that small digits are as frequent as large ones.
    side = round(28 * float(np.exp(generator.uniform(*np.log(SCALE_RANGE)))))
    digit = Image.fromarray(255 - pixels[:, :, 0]).resize((side, side), Image.Resampling.BICUBIC)
    width, height = (round(side * factor) for factor in generator.uniform(*PAGE_RANGE, size=2))
    paper = Image.new("L", (width, height), 255)
    left, top = generator.integers(0, (width - side + 1, height - side + 1))
    paper.paste(digit, (int(left), int(top)))
    file = io.BytesIO()
    paper.save(file, "PNG", compress_level=1)
    return file.getvalue()


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 3 if too much accuracy is lost on the pages."""
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
        help="an artifact (default: %(default)s)",
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
    return 0 if result else CHECK_FAILED


if __name__ == "__main__":
    sys.exit(exit_status(main))
