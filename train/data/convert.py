"""Converts images as they are stored to the form that the network takes, such as 28 × 28 of ink.

`train.data.load` calls `convert` with each split that a reader of `train.data.formats` returns. No
other module converts the images of a data set.
"""

import io
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from runtime.errors import DatasetError, ImageError, plural, printable
from runtime.preprocess.form import MNIST_FORM, Form
from runtime.preprocess.mnist_format import Pixels
from runtime.preprocess.pipeline import to_pixels
from train.data.raw import RawSplit
from train.data.splits import Split

MAX_LISTED_IMAGES = 10  # unreadable images that get a message each; further ones are only counted


def convert(raw: RawSplit, as_is: bool, form: Form = MNIST_FORM) -> Split:
    """Convert the images of a split to the form of a network.

    An array of uint8 images of the form's size is used unchanged and not copied. Encoded images
    that cannot be decoded are skipped; stderr names the first of them and their number.

    Args:
        raw: the images as they are stored.
        as_is: use the images unchanged: they are in the form already, 28 × 28 pixels, gray, light
            on dark. Otherwise the runtime's preprocessing converts them.
        form: the form of the pixels.

    Raises:
        DatasetError: an image of an array cannot be converted, or `as_is` is set and the array has
            images of another shape.
    """
    if isinstance(raw.images, np.ndarray):
        return Split(_convert_array(raw, raw.images, as_is, form), raw.labels)
    pixels, labels, skipped = [], [], 0
    title = f"reading {printable(Path(raw.source).name)}"
    silent = not sys.stderr.isatty()
    for index, image in enumerate(tqdm(raw.images, desc=title, leave=False, disable=silent)):
        name = raw.name_of(index)
        try:
            pixels.append(
                _read_as_is(image, name, form) if as_is else to_pixels(image, name=name, form=form)
            )
            labels.append(raw.labels[index])
        except ImageError as error:
            skipped += 1
            if skipped <= MAX_LISTED_IMAGES:
                print(f"skipped: {printable(str(error))}", file=sys.stderr)
    if skipped:
        summary = f"{raw.source}: {skipped} of {plural(len(raw), 'file')} skipped"
        print(printable(summary), file=sys.stderr)
    stacked = np.stack(pixels) if pixels else np.empty((0, *form.shape), np.uint8)
    return Split(stacked, np.array(labels, np.int64))


def _convert_array(raw: RawSplit, images: npt.NDArray[np.uint8], as_is: bool, form: Form) -> Pixels:
    """Convert an array of images to pixels, uint8 (N, *form.shape)."""
    if images.shape[1:] in form.array_shapes:
        return images.reshape(-1, *form.shape)
    if as_is:
        raise DatasetError(
            f"{raw.source} has images of shape {images.shape[1:]}, but --as-is needs "
            f"{form.array_shapes[0]}; omit --as-is to have the images converted"
        )
    try:
        return np.stack(
            [to_pixels(image, name=raw.name_of(n), form=form) for n, image in enumerate(images)]
        )
    except ImageError as error:
        raise DatasetError(str(error)) from error


def _read_as_is(image: Path | bytes, name: str, form: Form) -> Pixels:
    """Decode an image of the form's size without preprocessing, as uint8 of the form's shape."""
    height, width, channels = form.shape
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            if opened.size != (width, height):
                raise ImageError(
                    f"{name} is {opened.width}x{opened.height}, not {width}x{height}; "
                    "omit --as-is to have it converted"
                )
            mode = "RGB" if channels == 3 else "L"
            return np.asarray(opened.convert(mode), np.uint8).reshape(form.shape)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} cannot be read as an image ({error})") from error
