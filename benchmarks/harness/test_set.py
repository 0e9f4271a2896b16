"""Loads the test images and labels that the benchmarks of accuracy use.

The parity, robustness, rejection and placement benchmarks call `load_test_set`.
"""

from dataclasses import dataclass

from benchmarks.harness.statistics import Integers
from runtime.backends import Pixels
from runtime.errors import DatasetError
from train.data.writers import Writers


@dataclass(frozen=True, eq=False)
class TestSet:
    """The test images of a data set and their labels.

    Attributes:
        name: the name of the data set.
        sha256: SHA-256 of the whole data set, in hex.
        class_names: the names of the classes, in the order of the labels.
        pixels: (N, 28, 28, 1) uint8.
        labels: the correct classes, (N,) int64, indices into `class_names`.
        writers: who wrote the images; None if unknown.
    """

    __test__ = False  # keeps pytest from collecting the class as a test

    name: str
    sha256: str
    class_names: tuple[str, ...]
    pixels: Pixels
    labels: Integers
    writers: Writers | None = None

    def check_classes(self, labels: tuple[str, ...], model: object) -> None:
        """Raise DatasetError if a model's classes differ from those of the images.

        Args:
            labels: the class names of the model, in the order of its scores.
            model: the path or name of the model, for the message.

        Raises:
            DatasetError: the classes or their order differ.
        """
        if labels != self.class_names:
            raise DatasetError(
                f"{self.name} has the classes {', '.join(self.class_names)}, but {model} predicts "
                f"{', '.join(labels)}: pass a data set with the model's classes with --data"
            )


def load_test_set(source: str | None) -> TestSet:
    """Return the test split of a data set.

    Args:
        source: the value of --data, a folder or a file. None for the default: $DIGIT_EDGE_DATA,
            MNIST in the cache or from the network, or scikit-learn's digits.

    Raises:
        DatasetError: the data set is missing, damaged, or unsuitable.
        ModuleNotFoundError: a package of digit-edge[train] is not installed.
    """
    from train.data import load, writers

    dataset = load.load(source)
    _, test_writers = writers.find(dataset, source)
    return TestSet(
        dataset.name,
        dataset.sha256,
        tuple(dataset.labels),
        dataset.test.pixels,
        dataset.test.labels,
        test_writers,
    )
