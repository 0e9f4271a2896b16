"""Finds the interface of a model made with other tools: the form of its input and of its output.

The model shows the shapes and types, and its scores show the activation. Whether it takes values
from 0 to 1 or from 0 to 255, and dark or light ink, is not in the file. So the model is tried on
images whose classes are known, in each reading (a possible interface), and the reading that
predicts them best is chosen. `export.spec` calls `find`.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels, Scores
from runtime.backends.codec import Tensor
from runtime.errors import ArtifactError, DatasetError, plural
from runtime.model import artifact
from runtime.model.default_model import PRETRAINED
from runtime.model.interface import (
    DTYPES,
    FITS,
    LAYOUTS,
    MEAN,
    POLARITIES,
    RAW,
    SCALE,
    STD,
    Interface,
)
from runtime.preprocess.form import MAX_SIDE_PX, MNIST_FORM, PHOTO, Form
from runtime.preprocess.mnist_format import PIXELS_SHAPE
from train.data.load import sklearn_digits
from train.save import digits_in_form

_PHOTOGRAPHS = (
    "{name} takes color images, but with --form ink the runtime passes the ink of one drawn "
    "character, without its color and background: if it is a model of photographs, pass --form "
    "photo"
)
# A way to take an input for images: the shape of the input, the size of an image, and the layout.
InputForm = tuple[tuple[int | None, ...], tuple[int, int, int], str]
Scaling = tuple[float, tuple[float, ...], tuple[float, ...]]  # scale, mean, std

DIGITS = tuple("0123456789")
_MIN_SIDE_PX = 8  # smallest height or width that is taken for an image
_EXAMPLES_PER_CLASS = 10  # images of each class that a model is tried on
_MIN_ACCURACY = 0.5  # a reading works if it predicts at least this share of the known images
# The first reading whose loss exceeds the smallest loss by at most this is chosen, so that a usual
# reading is not replaced by an unusual one that is better by chance.
_MAX_LOSS_EXCESS = 0.05  # nats
# Temperatures at which the loss is measured: training makes networks too confident, up to this.
_MAX_TEMPERATURE = 4.0
# Scalings that models are trained with, as scale, mean, std: 0 to 1, −1 to 1, −0.5 to 0.5, and
# standardized by the mean and deviation of MNIST.
_SCALINGS: tuple[Scaling, ...] = (
    (SCALE, MEAN, STD),
    (1.0, (0.5,), (0.5,)),
    (1.0, (0.5,), STD),
    (1.0, (0.1307,), (0.3081,)),
)
_COLOR_SCALINGS: tuple[Scaling, ...] = (  # by those of ImageNet
    (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
# 0 to 255, the last: in a network for smaller values, these may be right and too confident.
_LARGE_SCALINGS: tuple[Scaling, ...] = ((255.0, MEAN, STD),)
_INT8_SCALINGS: tuple[Scaling, ...] = ((255.0, (128.0,), STD),)  # pixel − 128
# An input's quantized range may differ from the range of the values by this share of the range:
# calibration images seldom have both ends.
_RANGE_TOLERANCE = 0.1
_PROBABILITY_TOLERANCE = 0.02  # of a sum of probabilities
_QUANTIZED_STEP = 1 / 128  # of a probability in a quantized output, for each class
_BATCH_IMAGES = 3  # images that are run alone and together
_MAX_BATCH_DIFFERENCE = (
    0.02  # of a value, as a share of the largest; a larger one: one image a call
)


@dataclass(frozen=True)
class Examples:
    """Images with known classes.

    Attributes:
        name: for messages, such as "known digits".
        pixels: uint8 (N, 28, 28, 1), or photographs (N, *form.shape).
        classes: the names of their classes, (N,).
    """

    name: str
    pixels: Pixels
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """The parts of an interface that the maker of the model states; None for those to find.

    Attributes:
        form: the form of the pixels; of photographs with the size of the model's input.
    """

    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: str | None = None
    polarity: str | None = None
    activation: str | None = None
    form: Form = MNIST_FORM


@dataclass(frozen=True)
class Found:
    """The interface of a model.

    Attributes:
        interface: the chosen reading.
        note: what was found, for stdout.
        warning: why the reading is doubtful, and the remedy; empty if it works.
    """

    interface: Interface
    note: str
    warning: str = ""


# Runs a model in a reading: raises ArtifactError if the engine cannot.
Run = Callable[[Interface, Pixels], Scores]


def find(
    name: str,
    source: Tensor,
    result: Tensor,
    labels: tuple[str, ...],
    run: Run,
    options: Options | None = None,
    examples: Examples | None = None,
    scale_hint: float | None = None,
) -> Found:
    """Find the interface of a model.

    Args:
        name: the model's file, for messages.
        source: the model's input.
        result: the model's output.
        labels: the class names.
        run: runs the model.
        options: what the maker of the model states.
        examples: images of its classes; None takes digits if the model has the ten digits.
        scale_hint: the scale that a layer of the model undoes; None if it has no such layer.

    Raises:
        ArtifactError: the model does not take one image or return one score for each label, or an
            option contradicts the model.
    """
    options = options or Options()
    _check_types(name, source, result)
    forms = list(_forms(name, source, result, options.layout))
    is_photo = options.form.name == PHOTO
    if is_photo:
        forms = [form for form in forms if form[1] == options.form.shape]
    _check_labels(name, result, forms[0], labels)
    if examples is None and set(DIGITS) <= set(labels) and not is_photo:
        examples = known_digits()
    readings = list(_readings(source, forms, options))
    if scale_hint is not None:
        readings.sort(key=lambda reading: reading.scale != scale_hint)
    first = readings[0]
    if examples is not None:
        sample = examples.pixels
    else:
        sample = golden_pixels(options.form) if is_photo else known_digits().pixels
    batch_shape = _working_shape(first, run, sample[:_BATCH_IMAGES])
    readings = [dataclasses.replace(r, input_shape=batch_shape(r)) for r in readings]
    activation = _activation(name, readings, run, sample, result, options.activation)
    readings = [dataclasses.replace(reading, activation=activation) for reading in readings]
    if examples is None:
        note = f"{readings[0]}; not tried, as no images of its classes are known: pass --data"
        is_color_ink = readings[0].size[2] > 1 and not is_photo
        warning = _PHOTOGRAPHS.format(name=name) if is_color_ink else ""
        return Found(readings[0], note, warning)
    if not set(examples.classes) <= set(labels):
        missing = sorted(set(examples.classes) - set(labels))
        raise ArtifactError(
            f"{name} has no class {missing[0]!r} of {examples.name}: pass images of the model's "
            "classes with --data"
        )
    chosen, right = _best(readings, run, labels, examples)
    count = f"{len(examples.classes):,}"
    note = f"{chosen}; {right} of {count} {examples.name} right with {chosen.options()}"
    if right >= _MIN_ACCURACY * len(examples.classes):
        return Found(chosen, note)
    others = [
        dataclasses.replace(reading, input_shape=batch_shape(reading), activation=activation)
        for reading in _readings(
            source,
            forms if is_photo else list(_forms(name, source, result, None)),
            Options(form=options.form),
        )
    ]
    other, other_right = _best(others, run, labels, examples)
    problem = f"{name} predicts only {right} of {count} {examples.name} with {chosen.options()}"
    if other_right >= _MIN_ACCURACY * len(examples.classes):
        return Found(chosen, note, f"{problem}, but {other_right} with {other.options()}")
    return Found(
        chosen,
        note,
        f"{problem}; no scale and polarity that was tried works: check the order of --labels, or "
        "pass --scale, --mean, --std, --layout and --polarity of its training",
    )


def known_digits() -> Examples:
    """Return digits with known classes, from scikit-learn or, without it, a published model."""
    try:
        test = sklearn_digits().test
    except DatasetError:  # scikit-learn is not installed
        spec = artifact.read(PRETRAINED / "digits.onnx").spec
        assert spec.golden is not None
        classes = tuple(spec.labels[best] for best in spec.golden.scores.argmax(axis=1))
        return Examples("known digits", spec.golden.pixels, classes)
    return of_split("known digits", test.pixels, test.labels, DIGITS)


def of_split(
    name: str, pixels: Pixels, indices: npt.NDArray[np.int64], labels: tuple[str, ...]
) -> Examples:
    """Return the first images of each class of a data set.

    Args:
        name: for messages.
        pixels: uint8 (N, 28, 28, 1).
        indices: the classes of the images, indices into `labels`, (N,).
        labels: the class names.
    """
    chosen = np.concatenate(
        [np.flatnonzero(indices == n)[:_EXAMPLES_PER_CLASS] for n in range(len(labels))]
    )
    return Examples(name, pixels[chosen], tuple(labels[n] for n in indices[chosen]))


def golden_pixels(form: Form = MNIST_FORM) -> Pixels:
    """Return the golden inputs of every artifact of a form, uint8 (8, *form.shape)."""
    spec = artifact.read(PRETRAINED / "digits.onnx").spec
    assert spec.golden is not None
    return digits_in_form(spec.golden.pixels, form)


def photo_form(name: str, source: Tensor, result: Tensor, layout: str | None = None) -> Form:
    """Return the form of the photographs that a model takes.

    Args:
        name: the model's file, for messages.
        source: the model's input.
        result: the model's output.
        layout: the layout that the maker of the model states; None if it is to be found.

    Raises:
        ArtifactError: the input does not hold one image, or the image is too large.
    """
    _, size, _ = next(_forms(name, source, result, layout))
    if max(size[:2]) > MAX_SIDE_PX:
        raise ArtifactError(
            f"{name} takes images of {size[0]}x{size[1]} pixels: use a model with at most "
            f"{MAX_SIDE_PX} pixels a side"
        )
    return Form(PHOTO, size)


def _forms(name: str, source: Tensor, result: Tensor, layout: str | None) -> Iterator[InputForm]:
    """Yield (input shape, size, layout) of each way to take the input for images."""
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in source.shape)
    found = []
    if shape:
        found = [((shape[0], *rest), *form) for rest, form in _images(shape[1:])]
    outputs = result.shape[0] if result.shape else None
    without_batch = shape and shape[0] is not None and (not found or outputs != shape[0] != 1)
    if without_batch:
        found = [(rest, *form) for rest, form in _images(shape)] or found
    if layout is not None:
        found = [form for form in found if form[2] == layout or form[1][2] == 1]
    if not found:
        written = ", ".join("N" if size is None else str(size) for size in shape)
        raise ArtifactError(
            f"{name}: its input ({written}) does not hold one image of 1 or 3 channels"
            + (f" with --layout {layout}" if layout else "")
            + f" and at least {_MIN_SIDE_PX} pixels a side: use a model that takes one, such as "
            "(N, 28, 28, 1)"
        )
    for input_shape, size, order in found:
        yield input_shape, size, layout or order


def _images(
    shape: tuple[int | None, ...],
) -> Iterator[tuple[tuple[int, ...], tuple[tuple[int, int, int], str]]]:
    """Yield (shape without free axes, (size, layout)) of each way to take axes for one image."""
    free = shape.count(None)
    if free > 2:
        return
    fixed = tuple(PIXELS_SHAPE[0] if size is None else size for size in shape)
    axes = [size for size in fixed if size != 1]
    last, first = LAYOUTS
    sizes: list[tuple[tuple[int, int, int], str]] = []
    if len(axes) == 1 and not free:
        for channels, layouts in ((1, (last,)), (3, LAYOUTS)):
            side = math.isqrt(axes[0] // channels)
            if side * side * channels == axes[0]:
                sizes += [((side, side, channels), layout) for layout in layouts]
    elif len(axes) == 2:
        sizes = [((axes[0], axes[1], 1), last)]
    elif len(axes) == 3 and axes[2] == 3:
        sizes = [((axes[0], axes[1], 3), last)]
    elif len(axes) == 3 and axes[0] == 3:
        sizes = [((axes[1], axes[2], 3), first)]
    for size, layout in sizes:
        if min(size[:2]) >= _MIN_SIDE_PX:
            yield fixed, (size, layout)


def _check_types(name: str, source: Tensor, result: Tensor) -> None:
    """Raise ArtifactError if the input's or the output's type is not one of images and scores."""
    if source.dtype not in DTYPES:
        raise ArtifactError(
            f"{name}: its input is {source.dtype}: convert it with an input of {', '.join(DTYPES)}"
        )
    if result.dtype in ("int8", "uint8") and not result.scale:
        raise ArtifactError(
            f"{name} returns {result.dtype} without a quantization scale: convert it with float "
            "scores"
        )
    if result.dtype not in ("float32", "float16", "float64", "int8", "uint8"):
        raise ArtifactError(
            f"{name} returns {result.dtype}, such as the number of a class: convert it with one "
            "float score for each class"
        )


def _check_labels(
    name: str,
    result: Tensor,
    form: InputForm,
    labels: tuple[str, ...],
) -> None:
    """Raise ArtifactError if the output's shape is known and does not have one score a label."""
    input_shape, size, _ = form
    sizes = [n for n in result.shape if isinstance(n, int) and n > 0]
    free = len(result.shape) - len(sizes)
    if not result.shape or free > 1 or (free == 1 and input_shape[0] is not None):
        return
    batch = 1 if free else math.prod(n or 1 for n in input_shape) // math.prod(size)
    scores = math.prod(sizes) // batch
    if scores != len(labels) and (scores, len(labels)) != (1, 2):
        remedy = f"pass {plural(scores, 'class name')} with --labels"
        if scores == 1:
            remedy = (
                "pass two class names, of the low and the high score, or convert the model "
                "with one score for each class"
            )
        raise ArtifactError(
            f"{name}: {plural(scores, 'score')}, {plural(len(labels), 'label')}: {remedy}"
        )


def _readings(
    source: Tensor,
    forms: list[InputForm],
    options: Options,
) -> Iterator[Interface]:
    """Yield the possible interfaces, in the order in which they are preferred."""
    polarities = POLARITIES if options.polarity is None else (options.polarity,)
    if options.polarity is None and options.form.name == PHOTO:
        polarities = POLARITIES[:1]
    for polarity, scaling in itertools.product(polarities, _scalings(source, forms, options)):
        for input_shape, size, layout in forms:
            scale, mean, std = scaling
            if max(len(mean), len(std)) not in (1, size[2]):
                raise ArtifactError(
                    f"--mean and --std have {max(len(mean), len(std))} numbers, but the model's "
                    f"input has {plural(size[2], 'channel')}: pass one number, or one a channel"
                )
            height, width, _ = options.form.shape
            fits = FITS if size[0] > height and size[1] > width else FITS[:1]
            for fit in fits:
                yield Interface(
                    input_shape, size, source.dtype, layout, fit, polarity, scale, mean, std
                )


def _scalings(
    source: Tensor,
    forms: list[InputForm],
    options: Options,
) -> list[Scaling]:
    if (options.scale, options.mean, options.std) != (None, None, None):
        scale = SCALE if options.scale is None else options.scale
        return [(scale, options.mean or MEAN, options.std or STD)]
    is_color = all(size[2] == 3 for _, size, _ in forms)
    scalings = [*_SCALINGS, *(_COLOR_SCALINGS if is_color else ()), *_LARGE_SCALINGS]
    if np.dtype(source.dtype).kind not in "iu":
        return scalings
    limits = np.iinfo(source.dtype)
    step, zero_point = source.scale or 1.0, source.zero_point
    low, high = (step * (limit - zero_point) for limit in (limits.min, limits.max))
    scalings = [*_INT8_SCALINGS, *scalings] if not source.scale else scalings
    fitting = []
    for scale, mean, std in scalings:
        ends = Interface(
            (None,), (1, 1, max(len(mean), 1)), scale=scale, mean=mean, std=std
        ).range()
        tolerance = _RANGE_TOLERANCE * (ends[1] - ends[0])
        if abs(ends[0] - low) <= tolerance and abs(ends[1] - high) <= tolerance:
            fitting.append((scale, mean, std))
    return fitting or scalings


def _working_shape(
    first: Interface, run: Run, pixels: Pixels
) -> Callable[[Interface], tuple[int | None, ...]]:
    """Return a function from a reading to the input shape, with a batch that the model computes.

    A graph may reshape to one image although its batch is free.

    Raises:
        ArtifactError: the engine cannot run the model with one image either.
    """
    raw = dataclasses.replace(first, activation=RAW)

    def unchanged(reading: Interface) -> tuple[int | None, ...]:
        return reading.input_shape

    def one_image(reading: Interface) -> tuple[int | None, ...]:
        return (1, *reading.input_shape[1:])

    if first.batch is not None:
        run(raw, pixels)
        return unchanged
    try:
        together = run(raw, pixels)
        alone = np.concatenate([run(raw, pixels[n : n + 1]) for n in range(len(pixels))])
    except ArtifactError:
        run(dataclasses.replace(raw, input_shape=one_image(raw)), pixels)
        return one_image
    largest = max(float(np.abs(together).max()), 1.0)
    different = np.abs(alone - together).max() > _MAX_BATCH_DIFFERENCE * largest
    return one_image if different else unchanged


def _activation(
    name: str,
    readings: list[Interface],
    run: Run,
    sample: Pixels,
    result: Tensor,
    stated: str | None,
) -> str:
    """Return what the model's outputs are: what the maker states, or what the values show.

    Raises:
        ArtifactError: the values are not finite, or are not what the maker states.
    """
    noise = np.random.default_rng(0).integers(0, 256, (16, *sample.shape[1:]), np.uint8)
    pixels = np.concatenate((sample[:: max(1, len(sample) // 32)], noise))
    # Only a wrong scale may overflow: values from 0 to 255 in a network for 0 to 1.
    rows = run(dataclasses.replace(readings[0], activation=RAW), pixels)
    if not np.isfinite(rows).all():
        raise ArtifactError(
            f"{name} returns NaN or infinite scores for digits: convert the model again"
        )
    tolerance = _PROBABILITY_TOLERANCE + (
        rows.shape[1] * _QUANTIZED_STEP if result.dtype in ("int8", "uint8") else 0
    )
    low, high = float(rows.min()), float(rows.max())
    within_1 = low >= -tolerance and high <= 1 + tolerance
    sums_to_1 = within_1 and bool((np.abs(rows.sum(axis=1) - 1) <= tolerance).all())
    # The logarithms of quantized probabilities have coarse steps.
    logarithms = 10 * tolerance if result.dtype in ("int8", "uint8") else tolerance
    is_log = high <= tolerance and bool(
        (np.abs(np.exp(rows.astype(np.float64)).sum(axis=1) - 1) <= logarithms).all()
    )
    if rows.shape[1] == 1:
        found, possible = ("sigmoid", {"sigmoid"}) if within_1 else ("logits", {"logits"})
        possible |= {"logits"}
    elif sums_to_1:
        found, possible = "softmax", {"softmax", "sigmoid"}
    elif is_log:
        found, possible = "log-softmax", {"log-softmax", "logits"}
    elif within_1:
        found, possible = "sigmoid", {"sigmoid", "logits"}
    else:
        found, possible = "logits", {"logits"}
    if stated is None or stated in possible:
        return stated or found
    raise ArtifactError(
        f"{name} returns values from {low:.3g} to {high:.3g} that are not {stated}: pass "
        f"--activation {found}, or leave the option out"
    )


def _best(
    readings: list[Interface], run: Run, labels: tuple[str, ...], examples: Examples
) -> tuple[Interface, int]:
    """Return the reading that predicts the examples best, and its number of right predictions."""
    columns = [labels.index(name) for name in dict.fromkeys(examples.classes)]
    targets = np.array([columns.index(labels.index(name)) for name in examples.classes])
    measured = []
    for reading in readings:
        scores = run(reading, examples.pixels)[:, columns]
        right = int((scores.argmax(axis=1) == targets).sum())
        measured.append((reading, right, _loss(scores, targets)))
    limit = min(loss for _, _, loss in measured) + _MAX_LOSS_EXCESS
    return next((reading, right) for reading, right, loss in measured if loss <= limit)


def _loss(scores: Scores, targets: npt.NDArray[np.int64]) -> float:
    """Return the mean negative log-likelihood in nats, at the temperature that minimizes it."""
    logits = np.log(np.maximum(np.nan_to_num(scores.astype(np.float64)), 1e-30))
    losses = []
    for temperature in np.geomspace(1, _MAX_TEMPERATURE, 8):
        scaled = logits / temperature
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        normalizer = np.log(np.exp(scaled).sum(axis=1))
        losses.append(float((normalizer - scaled[np.arange(len(targets)), targets]).mean()))
    return min(losses)
