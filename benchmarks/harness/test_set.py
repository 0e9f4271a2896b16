"""Loads the test images and labels that the benchmarks of accuracy use.

The parity, robustness, rejection and placement benchmarks call `load_test_set`.
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.statistics import Integers
from runtime.backends import Pixels
from runtime.errors import ArtifactError, DatasetError
from runtime.model import artifact
from runtime.model.spec import CLASSES
from runtime.preprocess.form import MNIST_FORM, Form
from train.data.writers import Writers


@dataclass(frozen=True, eq=False)
class TestSet:
    """The test images of a data set and their labels.

    Attributes:
        name: the name of the data set.
        sha256: SHA-256 of the whole data set, in hex.
        class_names: the names of the classes, in the order of the labels.
        pixels: (N, 28, 28, 1) uint8, or in the form of the models.
        labels: the correct classes, (N,) int64, indices into `class_names`.
        writers: who wrote the images; None if unknown.
        form: the form of the pixels.
    """

    __test__ = False  # keeps pytest from collecting the class as a test

    name: str
    sha256: str
    class_names: tuple[str, ...]
    pixels: Pixels
    labels: Integers
    writers: Writers | None = None
    form: Form = MNIST_FORM

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


def load_test_set(source: str | None, models: Path | None = None) -> TestSet:
    """Return the test split of a data set, in the form that the models take.

    Args:
        source: the value of --data, a folder or a file. None for the default: $DIGIT_EDGE_DATA,
            MNIST in the cache or from the network, or scikit-learn's digits.
        models: a model or a folder of models, which state the form; None takes 28×28 ink.

    Raises:
        DatasetError: the data set is missing, damaged, or unsuitable, or the models take pixels of
            different forms.
        ModuleNotFoundError: a package of digit-edge[train] is not installed.
    """
    from train.data import load, writers

    form = MNIST_FORM if models is None else form_of(models)
    dataset = load.load(source, form=form)
    _, test_writers = writers.find(dataset, source)
    return TestSet(
        dataset.name,
        dataset.sha256,
        tuple(dataset.labels),
        dataset.test.pixels,
        dataset.test.labels,
        test_writers,
        form,
    )


def form_of(models: Path) -> Form:
    """Return the form that a model, or all models of a folder, take; readers of lines take none.

    A file that is not a model is ignored: it becomes a failed case later.

    Raises:
        DatasetError: the models of the folder take different forms.
    """
    forms: dict[Form, str] = {}
    for path in sorted(models.glob("*")) if models.is_dir() else [models]:
        try:
            spec = artifact.read(path).spec
        except (ArtifactError, OSError):
            continue
        if spec.kind == CLASSES:
            forms.setdefault(spec.pixel_form, path.name)
    if len(forms) > 1:
        found = ", ".join(f"{name} takes {form}" for form, name in forms.items())
        raise DatasetError(f"{models}: {found}: keep models of one form in a folder")
    return next(iter(forms), MNIST_FORM)
