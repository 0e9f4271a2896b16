"""Measure accuracy on digits at any place, margin and size.

`digit-edge benchmark-placement` runs this module. The pages are preprocessed like photographs; the
pixels of the data set are given to the model directly. The difference between the two accuracies is
therefore the cost of the preprocessing. The tables of margins and sizes show how much a prediction
depends on how a digit was cropped and enlarged.
"""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.harness.test_set import TestSet, load_test_set
from benchmarks.report.formats import counted
from runtime.classifier import Classifier
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, EdgeError, printable
from train.options import add_data_argument

if TYPE_CHECKING:
    from PIL import Image

# Largest accuracy on pixels minus accuracy on pages, each 0 to 1; beyond it, the benchmark fails.
MAX_ACCURACY_DROP = 0.005
_SIDE_PX = 28  # width and height of MNIST's images
SCALE_RANGE = (0.7, 10.0)  # least and largest side of a digit on a page, in multiples of _SIDE_PX

# Least and largest width of a page, in multiples of the side of its digit; the same for its height.
PAGE_RANGE = (1.2, 3.0)
MARGINS = (0.0, 0.02, 0.05, 0.1, 0.5, 1.0)  # of the height of a digit's ink, on all sides
CROP_SCALES = (1, 3, 8)  # a crop is enlarged by these factors, in bicubic resampling
FACTORS = (1, 2, 5, 10)  # a picture of _SIDE_PX pixels is enlarged by these factors
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


def measure_margins(classifier: Classifier, test_set: TestSet) -> list[str]:
    """Classify each digit cropped to its ink with several margins.

    Returns:
        The lines of a table: a row for each scale and polarity, a column for each margin.
    """
    lines = [
        "accuracy on digits cropped to their ink, by margin (share of the ink's height)",
        "enlarged  ink    " + "".join(f"{margin:>9.0%}" for margin in MARGINS),
    ]
    for scale in CROP_SCALES:
        for dark in (True, False):
            shares = [
                _accuracy(
                    classifier,
                    test_set,
                    [_crop(pixels, scale, margin, dark) for pixels in test_set.pixels],
                )
                for margin in MARGINS
            ]
            ink = "dark" if dark else "light"
            lines.append(f"{scale:>7}×  {ink:<7}" + "".join(f"{share:>9.2%}" for share in shares))
    return lines


def measure_sizes(classifier: Classifier, test_set: TestSet) -> list[str]:
    """Classify each picture enlarged by several factors.

    Returns:
        The lines of a table: the share of labels that differ from those of the original size.
    """
    from PIL import Image

    originals = [_inverted(pixels) for pixels in test_set.pixels]
    lines = ["labels that change if a picture of a digit is enlarged, by factor"]
    lines.append("resampling " + "".join(f"{factor:>8}×" for factor in FACTORS))
    for resampling in (Image.Resampling.NEAREST, Image.Resampling.BILINEAR):
        labels = []
        for factor in FACTORS:
            size = (_SIDE_PX * factor, _SIDE_PX * factor)
            enlarged = [picture.resize(size, resampling) for picture in originals]
            labels.append(np.array([classifier.classify(image).label for image in enlarged]))
        shares = [float(np.mean(each != labels[0])) for each in labels]
        name = resampling.name.lower()
        lines.append(f"{name:<11}" + "".join(f"{share:>9.2%}" for share in shares))
    return lines


def _accuracy(classifier: Classifier, test_set: TestSet, images: list["Image.Image"]) -> float:
    labels = np.array(test_set.class_names)[test_set.labels]
    predicted = [classifier.classify(image).label for image in images]
    return float(np.mean(np.array(predicted) == labels))


def _inverted(pixels: npt.NDArray[np.uint8]) -> "Image.Image":
    """Return the digit in dark ink, moved by two pixels: it is then not in MNIST's format."""
    from PIL import Image

    return Image.fromarray(255 - np.roll(pixels[:, :, 0], (2, -2), axis=(0, 1)))


def _crop(pixels: npt.NDArray[np.uint8], scale: int, margin: float, dark: bool) -> "Image.Image":
    """Return a digit cropped to its ink, enlarged, with a margin."""
    from PIL import Image, ImageOps

    digit = Image.fromarray(pixels[:, :, 0])
    digit = digit.crop(digit.getbbox())
    digit = digit.resize((digit.width * scale, digit.height * scale), Image.Resampling.BICUBIC)
    digit = ImageOps.expand(digit, round(margin * digit.height))
    return ImageOps.invert(digit) if dark else digit


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
        "--margins",
        action="store_true",
        help="also print how accuracy depends on the margin, and predictions on the size",
    )
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
    if not classifier.reads_numbers:
        raise EdgeError(
            f"{arguments.model} takes {classifier.spec.pixel_form}: placement is measured with "
            "models of 28x28 ink, which find the digit on a page"
        )
    test_set = load_test_set(arguments.data)
    result = measure(classifier, test_set, arguments.model.name, arguments.seed)
    print(printable(str(result)))
    if arguments.margins:
        for line in (*measure_margins(classifier, test_set), *measure_sizes(classifier, test_set)):
            print(line)
    return 0 if result else CHECK_FAILED  # a result is true if it passes


if __name__ == "__main__":
    sys.exit(exit_status(main))
