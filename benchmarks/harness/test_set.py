"""The test set that benchmarks measure with."""

from dataclasses import dataclass

from benchmarks.harness.statistics import Integers
from runtime.backends import Pixels
from runtime.errors import DatasetError


@dataclass(frozen=True, eq=False)
class TestSet:
    """The images of a benchmark: pixels (N, 28, 28, 1) uint8 and their classes (N,) int64."""

    __test__ = False  # tells pytest that this is not a test

    name: str
    sha256: str
    class_names: tuple[str, ...]
    pixels: Pixels
    labels: Integers

    def check_classes(self, labels: tuple[str, ...], model: object) -> None:
        """Raise DatasetError if a model's `labels` are not the classes of the images.

        Raises:
            DatasetError: they differ; its message names the model `model`.
        """
        if labels != self.class_names:
            raise DatasetError(
                f"{self.name} has the classes {', '.join(self.class_names)}, {model} answers "
                f"{', '.join(labels)}: give the data it was trained for"
            )


def load_test_set(source: str | None) -> TestSet:
    """The test split of the data set that `train.data.load` finds; see --data."""
    from train.data import load

    dataset = load.load(source)
    return TestSet(
        dataset.name,
        dataset.sha256,
        tuple(dataset.labels),
        dataset.test.pixels,
        dataset.test.labels,
    )
