"""python -m benchmarks.placement: test digits anywhere on a page, through the preprocessing."""

import argparse
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness.test_set import TestSet, load_test_set
from runtime.classifier import Classifier
from runtime.cli.exit_status import exit_status
from runtime.errors import CHECK_FAILED, EdgeError, printable

# Putting an MNIST digit through the preprocessing again changes next to nothing.
MAX_DROP = 0.005
# A digit is drawn so many times as large as in MNIST, on a page of so many times its side.
SCALE = (0.7, 10.0)
PAGE = (1.2, 3.0)


@dataclass(frozen=True)
class PlacementResult:
    """Accuracies, 0 to 1, on `n` digits: as pixels, and on pages; true where few are lost."""

    artifact: str
    n: int
    accuracy_pixels: float
    accuracy_pages: float

    def __bool__(self) -> bool:
        return round(self.accuracy_pixels - self.accuracy_pages, 9) <= MAX_DROP

    def __str__(self) -> str:
        return (
            f"{self.artifact}: {self.accuracy_pixels:.2%} of {self.n:,} digits as pixels, "
            f"{self.accuracy_pages:.2%} placed at random on a page, black on white "
            f"(at most {100 * MAX_DROP:g} points less: {'PASS' if self else 'FAIL'})"
        )


def measure(classifier: Classifier, test_set: TestSet, name: str, seed: int = 0) -> PlacementResult:
    """Read each image of `test_set` as it is, and as a PNG of a page it was placed on.

    Raises:
        DatasetError: the images are not of the model's classes.
    """
    test_set.check_classes(classifier.spec.labels, name)
    labels = np.array(test_set.class_names)[test_set.labels]
    direct = classifier.scores(test_set.pixels).argmax(axis=1) == test_set.labels
    generator = np.random.default_rng(seed)
    read = [
        classifier.classify(page(pixels, generator)).label == label
        for pixels, label in zip(test_set.pixels, labels, strict=True)
    ]
    return PlacementResult(name, len(labels), float(direct.mean()), float(np.mean(read)))


def page(pixels: npt.NDArray[np.uint8], generator: np.random.Generator) -> bytes:
    """A PNG file of `pixels` (28, 28, 1), black on white, at a random size and place."""
    from PIL import Image

    # As many small as large ones: the logarithm of the scale is uniform.
    side = round(28 * float(np.exp(generator.uniform(*np.log(SCALE)))))
    digit = Image.fromarray(255 - pixels[:, :, 0]).resize((side, side), Image.Resampling.BICUBIC)
    width, height = (round(side * factor) for factor in generator.uniform(*PAGE, size=2))
    paper = Image.new("L", (width, height), 255)
    left, top = generator.integers(0, (width - side + 1, height - side + 1))
    paper.paste(digit, (int(left), int(top)))
    file = io.BytesIO()
    paper.save(file, "PNG", compress_level=1)
    return file.getvalue()


def main(argv: list[str] | None = None) -> int:
    """The command `python -m benchmarks.placement`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.placement",
        description="Read the test digits placed at random sizes and places on a white page.",
    )
    parser.add_argument("--model", type=Path, default=Path("models/digits-int8.tflite"))
    parser.add_argument("--data", help="the test digits; see python -m train --help")
    parser.add_argument("--seed", type=int, default=0)
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
