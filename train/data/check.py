"""Checks a data set before the training: what a network would learn wrongly with a good accuracy.

`train.run` prints the summary and the warnings. An error is raised only if the data are certainly
wrong; `--as-is` turns the error about the images' orientation into a warning.
"""

import re
import string
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from runtime.errors import DatasetError, ImageError, plural
from runtime.preprocess.decode import decode
from runtime.preprocess.form import INK, MNIST_FORM, Form
from runtime.preprocess.mnist_format import to_mnist_format
from train.data.convert import has_light_background
from train.data.raw import RawSplit
from train.data.splits import DataSet, Split
from train.negatives import draw, letter_fonts

_SAMPLED_FILES = 48  # of a split, whose size, color and polarity are looked up
_SAMPLED_PIXELS = 2000  # images of a split whose polarity and ink are checked
_SAMPLED_OF_CLASS = 300  # images of a class whose mean is compared with characters
_SIDE_PX = 64  # of the copy of an image whose polarity is looked up
_FEW_IMAGES = 20  # a class with fewer training images is reported
_FEW_SHARE = 0.1  # of the median class; a class with fewer training images is reported
_LISTED = 5  # classes that a line names
_MAX_LIGHT_SHARE = 0.05  # of images of ink with a light background
_MIN_PEAK_LEVEL = 128  # of most images of ink
_MAX_INK_PX = 22  # side of the ink's box; MNIST's form has at most 20
_MAX_LARGE_INK_SHARE = 0.5
# The correlation of the mean image of a class with its character is 0.89 for MNIST and 0.82 for the
# embedded digits. It is 0.56 and 0.50 if they are transposed, 0.75 and 0.73 if they are mirrored.
_MIN_CORRELATION = 0.6
_MIN_ADVANTAGE = 0.08  # of another orientation over that of the images
_MIN_CHARACTERS = 3  # classes that are a single character; with fewer, nothing is compared
_BLUR_PX = 1.5  # standard deviation; handwriting differs from a font
_FILE_LABEL = re.compile(r"(\d|[A-Za-z])(?:[_\- ].*)?\.\w+")
_CHARACTERS = frozenset(string.digits + string.ascii_letters)

Pixels = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Summary:
    """What a data set contains, for people.

    Attributes:
        lines: numbers of images and classes, sizes and polarity.
        warnings: what is probably wrong, with a remedy; one line each.
    """

    lines: tuple[str, ...]
    warnings: tuple[str, ...]


def check(data: DataSet, form: Form = MNIST_FORM, as_is: bool = False) -> Summary:
    """Summarize a data set, and check it.

    Args:
        data: the data set, with its images in the form of the network.
        form: the form.
        as_is: whether the user declares that the images are in the form already.

    Raises:
        DatasetError: the folders that were read as classes are certainly writers; several classes
            have only blank images; or the images are transposed, mirrored or rotated.
    """
    _check_blank_classes(data)
    warnings = [*_writers(data), *_blank(data), *_few(data), *_duplicates(data)]
    if form.name == INK:
        warnings += [*_polarity(data), *_faint(data)]
    if form == MNIST_FORM:
        warnings += [*_orientation(data, as_is), *_large_ink(data)]
    return Summary(_describe(data), tuple(warnings))


# --- the summary


def _describe(data: DataSet) -> tuple[str, ...]:
    counts = np.bincount(data.train.labels, minlength=len(data.labels))
    classes = (
        f"{plural(len(data.train), 'training image')} and {plural(len(data.test), 'test image')} "
        f"of {plural(len(data.labels), 'class', 'classes')}: {_listed(data.labels, ', ')}; "
        f"{counts.min():,} to {counts.max():,} training images per class"
    )
    if data.raw is None:
        splits = [RawSplit(data.name, _without_axis(data.train.pixels), data.train.labels)]
    else:
        splits = [split for split in (data.raw.train, data.raw.test) if split is not None]
    sizes, colored, light, count = [], 0, 0, 0
    for split in splits:
        for index in _sample(len(split), _SAMPLED_FILES).tolist():
            try:
                decoded = decode(split.images[index], longest=_SIDE_PX)
            except ImageError:
                continue
            sizes.append(decoded.size)
            colored += decoded.colored
            light += bool(has_light_background(decoded.gray[None])[0])
            count += 1
    if not count:
        return (classes,)
    widths, heights = ([size[axis] for size in sizes] for axis in (0, 1))
    smallest, largest = (f"{of(widths)}x{of(heights)}" for of in (min, max))
    size = smallest if smallest == largest else f"{smallest} to {largest}"
    color = _share_text(colored, count, "color", "gray")
    polarity = _share_text(light, count, "dark on light", "light on dark")
    return (classes, f"stored as {size} pixels, {color}, {polarity}")


def _share_text(part: int, count: int, name: str, other: str) -> str:
    """Return one of two names, or both with the share of the first."""
    if part in (0, count):
        return name if part else other
    return f"{100 * part / count:.0f} % {name}, the others {other}"


def _listed(names: tuple[str, ...] | list[str], separator: str) -> str:
    """Return names as text; of many, the first ones."""
    if len(names) <= 2 * _LISTED:
        return separator.join(names)
    return separator.join(names[:_LISTED]) + separator + "…"


def _without_axis(pixels: Pixels) -> Pixels:
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _sample(count: int, limit: int) -> npt.NDArray[np.int64]:
    """Return at most `limit` indices below `count`, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(np.int64))


# --- the checks, each of which returns its warnings


def _constant(pixels: Pixels) -> Flags:
    flat = pixels.reshape(len(pixels), -1)
    return np.asarray(flat.min(axis=1) == flat.max(axis=1))


def _check_blank_classes(data: DataSet) -> None:
    """Raise DatasetError if several classes have only blank images; one may mean "empty"."""
    constant = np.bincount(data.train.labels, _constant(data.train.pixels), len(data.labels))
    counts = np.bincount(data.train.labels, minlength=len(data.labels))
    blank = [data.labels[n] for n in np.flatnonzero(constant == counts)]
    if len(blank) > 1:
        raise DatasetError(
            f"{data.name}: all images of the classes {_listed(blank, ', ')} are blank; check how "
            "the images were saved"
        )


def _blank(data: DataSet) -> list[str]:
    constant = _constant(data.train.pixels)
    if not constant.any():
        return []
    classes = sorted({data.labels[n] for n in data.train.labels[constant]})
    return [
        f"{plural(int(constant.sum()), 'training image')} of {_listed(classes, ', ')} "
        f"{'is' if constant.sum() == 1 else 'are'} blank; remove them, unless a class means blank"
    ]


def _few(data: DataSet) -> list[str]:
    warnings = []
    counts = np.bincount(data.train.labels, minlength=len(data.labels))
    limit = max(_FEW_IMAGES, _FEW_SHARE * float(np.median(counts)))
    few = [f"{data.labels[n]} ({counts[n]})" for n in np.flatnonzero(counts < limit)]
    if few:
        warnings.append(
            f"few training images of {_listed(few, ', ')}; the network will hardly learn "
            f"{'this class' if len(few) == 1 else 'these classes'}, add images"
        )
    tested = np.bincount(data.test.labels, minlength=len(data.labels))
    if untested := [data.labels[n] for n in np.flatnonzero(tested == 0)]:
        warnings.append(
            f"no test images of {_listed(untested, ', ')}; the test accuracy will not cover "
            f"{'this class' if len(untested) == 1 else 'these classes'}"
        )
    return warnings


def _duplicates(data: DataSet) -> list[str]:
    """Report equal images in both splits, and equal images with different labels."""
    known: dict[bytes, int] = {}
    conflicts = 0
    for image, label in zip(data.train.pixels, data.train.labels.tolist(), strict=True):
        conflicts += known.setdefault(image.tobytes(), label) != label
    warnings = []
    shared = sum(image.tobytes() in known for image in data.test.pixels)
    if shared:
        warnings.append(
            f"{shared:,} of {plural(len(data.test), 'test image')} are training images too, so "
            "that the test accuracy is too high; remove them from one of the parts"
        )
    if conflicts:
        warnings.append(
            f"{plural(conflicts, 'training image')} equal to one with another label; correct the "
            "labels"
        )
    return warnings


def _polarity(data: DataSet) -> list[str]:
    images = data.train.pixels[_sample(len(data.train), _SAMPLED_PIXELS)]
    share = float(np.mean(has_light_background(images)))
    if share <= _MAX_LIGHT_SHARE:
        return []
    return [
        f"{100 * share:.0f} % of the images have a light background, but the network takes light "
        "ink on a dark background, as the device will show it; invert these images (255 - x)"
    ]


def _faint(data: DataSet) -> list[str]:
    images = data.train.pixels[_sample(len(data.train), _SAMPLED_PIXELS)]
    peak = float(np.median(images.reshape(len(images), -1).max(axis=1)))
    if peak >= _MIN_PEAK_LEVEL:
        return []
    return [
        f"the lightest pixel of most images has a level of at most {peak:.0f} of 255, but the "
        "device will show ink of 255; scale the values"
    ]


def _large_ink(data: DataSet) -> list[str]:
    images = data.train.pixels[_sample(len(data.train), _SAMPLED_PIXELS), :, :, 0] > 0
    sides = np.maximum(*(_extent(np.any(images, axis=axis)) for axis in (1, 2)))
    share = float(np.mean(sides > _MAX_INK_PX))
    if share <= _MAX_LARGE_INK_SHARE:
        return []
    return [
        f"the ink of {100 * share:.0f} % of the images is larger than 20x20 pixels, to which the "
        "device will scale it; pass the images as files to have them scaled too, or train with "
        "--form photo"
    ]


def _extent(flags: Flags) -> npt.NDArray[np.int64]:
    """Return the length from the first to the last True of each row, (N, length) → (N,)."""
    length = flags.shape[1]
    ends = length - flags[:, ::-1].argmax(axis=1) - flags.argmax(axis=1)
    return np.where(flags.any(axis=1), ends, 0)


# Orientation → (name, what to do with an array x of shape (N, height, width)).
_ORIENTATIONS = {
    "transposed": ("transposed (as EMNIST's files are)", "x.transpose(0, 2, 1)"),
    "mirrored": ("mirrored", "x[:, :, ::-1]"),
    "upside down": ("upside down", "x[:, ::-1, ::-1]"),
    "left": ("turned to the left", "numpy.rot90(x, -1, (1, 2))"),
    "right": ("turned to the right", "numpy.rot90(x, 1, (1, 2))"),
}


def _uprighted(orientation: str, image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return an image of an orientation turned upright."""
    turned: dict[str, npt.NDArray[np.float64]] = {
        "transposed": image.T,
        "mirrored": image[:, ::-1],
        "upside down": image[::-1, ::-1],
        "left": np.rot90(image, -1),
        "right": np.rot90(image, 1),
    }
    return turned[orientation]


def _orientation(data: DataSet, as_is: bool) -> list[str]:
    """Compare the mean image of each class that is a character with that character in a font.

    Raises:
        DatasetError: another orientation is certainly right, and `as_is` is not set.
    """
    characters = [n for n, label in enumerate(data.labels) if label in _CHARACTERS]
    if len(characters) < _MIN_CHARACTERS:
        return []
    means = _means(data.train, characters)
    templates = [_template(data.labels[n]) for n in characters]
    upright = _correlation(means, templates)
    scores = {
        name: _correlation([_uprighted(name, mean) for mean in means], templates)
        for name in _ORIENTATIONS
    }
    best = max(scores, key=lambda name: scores[name])
    if scores[best] < max(_MIN_CORRELATION, upright + _MIN_ADVANTAGE):
        return []
    name, code = _ORIENTATIONS[best]
    problem = f"the images are {name}; turn them upright: x = {code}"
    if as_is:
        return [problem]
    raise DatasetError(f"{data.name}: {problem}, or pass --as-is if they are right")


def _means(split: Split, classes: list[int]) -> list[npt.NDArray[np.float64]]:
    means = []
    for n in classes:
        indices = np.flatnonzero(split.labels == n)
        chosen = indices[_sample(len(indices), _SAMPLED_OF_CLASS)]
        means.append(_blurred(split.pixels[chosen, :, :, 0].mean(axis=0)))
    return means


@cache
def _template(character: str) -> npt.NDArray[np.float64]:
    """Return a character in several fonts, in MNIST's form."""
    images = [to_mnist_format(np.asarray(draw(character, font)))[..., 0] for font in letter_fonts()]
    return _blurred(np.mean(images, axis=0))


def _blurred(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    picture = Image.fromarray(np.rint(image).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(_BLUR_PX)), np.float64)


def _correlation(
    images: list[npt.NDArray[np.float64]], templates: list[npt.NDArray[np.float64]]
) -> float:
    """Return the mean of Pearson's correlation coefficient of images and their templates."""
    values = []
    for image, template in zip(images, templates, strict=True):
        a, b = image - image.mean(), template - template.mean()
        norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
        values.append(float((a * b).sum()) / norm if norm else 0.0)
    return float(np.mean(values))


def _writers(data: DataSet) -> list[str]:
    """Report folders that are probably writers: the file names in each begin with all labels.

    Raises:
        DatasetError: the folders have words as names, and the files of each begin with `0_` to
            `9_`.
    """
    if data.raw is None or isinstance(data.raw.train.images, np.ndarray):
        return []
    if all(len(label) == 1 or label.isdecimal() for label in data.labels):
        return []
    found: dict[int, set[str]] = defaultdict(set)
    prefixed = False
    for image, label in zip(data.raw.train.images, data.raw.train.labels.tolist(), strict=True):
        if not isinstance(image, Path) or not (match := _FILE_LABEL.fullmatch(image.name)):
            return []
        found[label].add(match[1])
        prefixed = prefixed or "_" in image.name or "-" in image.name
    first = next(iter(found.values()))
    if len(first) < 2 or any(names != first for names in found.values()):
        return []
    names = _listed(sorted(first), ", ")
    problem = (
        f"the files of each of the folders {_listed(data.labels, ', ')} are named {names}, so the "
        "folders seem to be writers, not classes"
    )
    if prefixed and first >= set(string.digits):
        raise DatasetError(
            f"{data.name}: {problem}; sort the images into one subfolder per label, or put them "
            "into one folder with names like 7_anna.png"
        )
    return [f"{problem}; if they are, sort the images into one subfolder per label"]
