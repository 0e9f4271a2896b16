"""Preprocesses any image of a digit to MNIST's format: 28x28, ink 255 on 0, centered by mass.

Training data, calibration samples and photographs all pass through `to_mnist_format`, so that the
rules exist once.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from runtime.errors import ImageError
from runtime.preprocess import fast_png, segment_tiny
from runtime.preprocess.decode import CachedDecoder, ImageSource, describe
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.mnist_format import (
    _BATCH_PAYS,
    _MNIST_PEAK,
    _SUMS,
    PIXELS_SHAPE,
    Pixels,
    _has_mnist_sums,
    _in_mnist_form,
    tight_to_mnist_format,
)
from runtime.preprocess.segment import Box, Segment, segment_digit

DARK_ON_LIGHT = "dark on light"
LIGHT_ON_DARK = "light on dark"

# The longest side, in pixels, at which a digit is looked for.
_LONGEST = 192
# A digit that is smaller than this there is looked at again, this large, in its surroundings.
_SMALLEST, _ENLARGED = 28, 48


@dataclass(frozen=True)
class PreprocessedImage:
    """How an image was seen.

    `pixels` is uint8 (28, 28, 1); `box` is the digit's (left, top, right, bottom) in pixels of the
    upright original, right and bottom exclusive; `polarity` is "dark on light" or "light on dark";
    `method` is "pixels" or "mnist" for what came in MNIST's form, "luminance" or "color" for ink
    found by that contrast, and "blank" where there is none: then all pixels are 0 and the box is
    the whole image. `implausible` says that the ink does not have the shape of a digit: it is
    filled, part of a drawing or a text, has other ink in its hole, or is a pattern whose
    background may as well be ink.
    """

    pixels: Pixels
    box: Box
    polarity: str
    method: str
    implausible: bool = False


def to_pixels(image: ImageSource, *, name: str | None = None) -> Pixels:
    """Bring an image into MNIST's form: uint8 (28, 28, 1), 0 background, 255 ink.

    See `preprocess` for the kinds of image. Raises ImageError.
    """
    pixels = _given_pixels(image)
    return preprocess(image, name=name).pixels if pixels is None else pixels


def preprocess_batch(images: Sequence[ImageSource]) -> list[PreprocessedImage]:
    """As `preprocess` of each; folders of small PNG files in MNIST's form take half the time."""
    preprocessed = _plain_mnist(images) if len(images) >= _BATCH_PAYS else [None] * len(images)
    return [
        preprocess(image) if known is None else known
        for image, known in zip(images, preprocessed, strict=True)
    ]


def preprocess(
    image: "ImageSource | CachedDecoder", *, name: str | None = None
) -> PreprocessedImage:
    """Find the digit in an image and bring it into MNIST's form.

    A path, bytes, a binary file object, a Pillow image or an array: (height, width[, 1, 3 or 4])
    of uint8, uint16, bool or float from 0 to 1. A uint8 array of shape (28, 28) or (28, 28, 1) is
    pixels already and returned as such, not copied. A page without ink gives blank pixels.
    `name` is what messages call the image. Raises ImageError where there is no image to read.
    """
    if not isinstance(image, CachedDecoder):
        pixels = _given_pixels(image)
        if pixels is not None:
            return PreprocessedImage(pixels, (0, 0, 28, 28), LIGHT_ON_DARK, "pixels")
        name = describe(image, name)
        image = CachedDecoder(buffer_stream(image, name), name)
    decoded = image.decode(longest=_LONGEST)
    gray, (width, height) = decoded.gray, decoded.size
    if gray.shape == (28, 28):
        inverted = gray[0, 0] > 127
        pixels = 255 - gray if inverted else gray
        if _in_mnist_form(pixels):
            polarity = DARK_ON_LIGHT if inverted else LIGHT_ON_DARK
            return PreprocessedImage(
                pixels.reshape(PIXELS_SHAPE), (0, 0, 28, 28), polarity, "mnist"
            )
    for color in (False, True) if decoded.colored else (False,):
        if color:
            gray = image.decode(longest=_LONGEST, color=True).gray
        found = _find_ink(gray)
        if found is not None:
            break
    else:
        blank = np.zeros(PIXELS_SHAPE, np.uint8)
        return PreprocessedImage(blank, (0, 0, width, height), DARK_ON_LIGHT, "blank")
    box = scale_box(found.box, width / gray.shape[1], height / gray.shape[0])
    side = max(found.ink.shape)
    if side < _SMALLEST and max(width, height) > _LONGEST:
        longest = min(_LONGEST * _ENLARGED // side, max(width, height))
        gray = image.decode(longest=longest, color=color).gray
        x, y = gray.shape[1] / width, gray.shape[0] / height
        margin = max(box[2] - box[0], box[3] - box[1]) // 2
        left, top = max(int((box[0] - margin) * x), 0), max(int((box[1] - margin) * y), 0)
        closer = segment_digit(
            gray[top : int((box[3] + margin) * y) + 1, left : int((box[2] + margin) * x) + 1]
        )
        if closer is not None and closer.dark == found.dark:
            # Close to, what else the picture holds is out of view.
            found = replace(closer, implausible=closer.implausible or found.implausible)
            x0, y0, x1, y1 = closer.box
            box = scale_box((x0 + left, y0 + top, x1 + left, y1 + top), 1 / x, 1 / y)
    polarity = DARK_ON_LIGHT if found.dark else LIGHT_ON_DARK
    method = "color" if color else "luminance"
    return PreprocessedImage(
        tight_to_mnist_format(found.ink), box, polarity, method, found.implausible
    )


def _find_ink(gray: Gray) -> Segment | None:
    """The quick way where the picture is small and simple, the thorough one elsewhere."""
    found = segment_tiny.segment_digit(gray) if max(gray.shape) <= segment_tiny.LONGEST else None
    return segment_digit(gray) if found is None else found


def _given_pixels(image: ImageSource) -> Pixels | None:
    """The image as pixels where it is that already: a uint8 array (28, 28) or (28, 28, 1)."""
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        if image.shape in ((28, 28), PIXELS_SHAPE):
            return image.reshape(PIXELS_SHAPE)
    return None


def stack_pixels(images: Sequence[ImageSource]) -> Pixels | None:
    """Images that all are pixels already, alike in shape, as (N, 28, 28, 1) uint8; else None."""
    if set(map(type, images)) != {np.ndarray}:
        return None
    arrays = cast("Sequence[Pixels]", images)
    if arrays[0].shape not in ((28, 28), PIXELS_SHAPE):
        return None
    # All that costs less than a microsecond an image: the axes but the first are compared by
    # `concatenate`, and so are the dtypes.
    try:
        if set(map(len, arrays)) != {28}:
            return None
        joined = np.concatenate(arrays, dtype=np.uint8, casting="no")
    except (TypeError, ValueError):
        return None
    return joined.reshape(-1, *PIXELS_SHAPE)


def scale_box(box: Box, x: float, y: float) -> Box:
    """A box in a picture whose pixels are `x` wide and `y` high, rounded outwards."""
    left, top, right, bottom = box
    return int(left * x), int(top * y), int(np.ceil(right * x)), int(np.ceil(bottom * y))


def _plain_mnist(images: Sequence[ImageSource]) -> list[PreprocessedImage | None]:
    """Preprocess plain PNG files in MNIST's format all at once; None stands for any other image."""
    preprocessed: list[PreprocessedImage | None] = [None] * len(images)
    if not all(isinstance(image, (str, os.PathLike)) for image in images):
        return preprocessed
    planes = fast_png.read_all_plain(cast("Sequence[str | os.PathLike[str]]", images), 28)
    places = [place for place, plane in enumerate(planes) if plane is not None]
    if not places:
        return preprocessed
    grays = np.stack([plane for plane in planes if plane is not None])
    inverted = grays[:, 0, 0] > 127
    grays[inverted] ^= 255
    highest = grays.max(axis=(1, 2)).tolist()
    sums = (_SUMS @ grays.astype(np.float32) @ _SUMS.T).tolist()
    ready = grays.reshape(-1, *PIXELS_SHAPE)
    for number, place in enumerate(places):
        if highest[number] >= _MNIST_PEAK and _has_mnist_sums(sums[number]):
            polarity = DARK_ON_LIGHT if inverted[number] else LIGHT_ON_DARK
            preprocessed[place] = PreprocessedImage(
                ready[number], (0, 0, 28, 28), polarity, "mnist"
            )
    return preprocessed


def buffer_stream(image: ImageSource, name: str) -> ImageSource:
    """The image, as bytes where it can be read but once: a file object, a pipe. Raises ImageError.

    What is in doubt is decoded a second time, in color or larger.
    """
    if isinstance(image, (str, os.PathLike)):
        try:
            if stat.S_ISREG(os.stat(image).st_mode):
                return image
            with open(image, "rb") as pipe:
                return pipe.read()
        except (OSError, ValueError):
            return image  # what is wrong with it is said by what decodes it
    return _read_file(image, name) if hasattr(image, "read") else image


def _read_file(file: Any, name: str) -> bytes:
    """All of a binary file object, for an image that may be decoded twice. Raises ImageError."""
    try:
        data = file.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be read ({error}); open it again") from error
    if not isinstance(data, bytes):
        raise ImageError(f"{name}: a text file object; open it in binary mode")
    return data
