"""Convert any image of a digit to MNIST's format: 28x28 pixels, ink 255 on 0, centered by mass.

`preprocess` decodes the image, segments the ink and scales the ink. `to_pixels` returns the pixels
only. `runtime.Classifier`, training and the benchmarks all call these functions, so that a model is
trained on the same pixels that it later classifies. Models of another `Form` get their pixels here
too: ink in another size, or photographs, which are only resized.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from runtime.errors import ImageError
from runtime.preprocess import fast_png
from runtime.preprocess.decode import CachedDecoder, ImageSource, describe
from runtime.preprocess.form import MNIST_FORM, PHOTO, Form
from runtime.preprocess.mnist_format import (
    FORMAT_CHECK_WEIGHTS,
    MIN_PEAK_LEVEL,
    PIXELS_SHAPE,
    Pixels,
    has_mnist_sums,
    is_mnist_format,
    tight_to_ink_format,
    tight_to_mnist_format,
)
from runtime.preprocess.photo import photo_pixels
from runtime.preprocess.segment import Box, segment_digit

DARK_ON_LIGHT = "dark on light"  # ink darker than its background
LIGHT_ON_DARK = "light on dark"  # ink lighter than its background
NO_POLARITY = "none"  # of a photograph, whose ink is not segmented

_SEARCH_SIDE_PX = 192  # a larger image is scaled down to this longer side to find the digit
_MIN_DIGIT_PX = 28  # longer side; a smaller digit is segmented again in a larger copy
_TARGET_DIGIT_PX = 48  # longer side of the digit in the larger copy
_MAX_ASPECT = 3.0  # width / height of a digit; of MNIST's the widest has 2.5
_MIN_BATCH_IMAGES = 4  # files of a smaller batch are read one by one, not as one tall picture
_UINT8 = np.dtype(np.uint8)  # once, because `given_pixels` would make it at each call
# Gray level of 255. A 28x28 image whose top left pixel is at least this light is inverted before it
# is compared with MNIST's format.
_HALF_LEVEL = 128


@dataclass(frozen=True)
class PreprocessedImage:
    """The digit of an image in MNIST's format, and how it was found.

    Attributes:
        pixels: uint8 in the shape of the model's form, (28, 28, 1) in MNIST's format; 0 is
            background; all 0 if the image is blank.
        box: left, top, right, bottom of the digit in pixels of the upright original, right and
            bottom exclusive. The whole image if it is blank, a photograph, or already in MNIST's
            format.
        polarity: `DARK_ON_LIGHT`, `LIGHT_ON_DARK` or, of a photograph, `NO_POLARITY`.
        method: how the digit was found:

            - "pixels": the image was an array of pixels and is returned unchanged.
            - "mnist": the image was already in MNIST's format.
            - "luminance": ink and background differ in luminance.
            - "color": ink and background differ in color only.
            - "blank": there is no ink.
            - "photo": the whole image was resized, as the model takes photographs.
        implausible: whether the ink does not have the shape of a digit. The ink is a filled shape,
            a dash, a part of a drawing or text, or has a separate piece in a hole. Also True for a
            pattern in which ink and background cannot be distinguished.
        has_neighbors: whether other ink, about as high as the digit, stands in a line with it. Then
            the image may contain a number.
    """

    pixels: Pixels
    box: Box
    polarity: str
    method: str
    implausible: bool = False
    has_neighbors: bool = False


def to_pixels(image: ImageSource, *, name: str | None = None, form: Form = MNIST_FORM) -> Pixels:
    """Convert an image to pixels in MNIST's format: uint8 (28, 28, 1), background 0, ink 255.

    Args:
        image: see `preprocess`.
        name: name of the image, for error messages; None uses the path, or a word like `<bytes>`.
        form: the form of the pixels, if they are for a model of another form.

    Returns:
        All 0 if the image is blank. A uint8 array (28, 28) or (28, 28, 1) is returned unchanged.

    Raises:
        ImageError: the image cannot be decoded.
    """
    pixels = given_pixels(image, form)
    return preprocess(image, name=name, form=form).pixels if pixels is None else pixels


def preprocess_batch(
    images: Sequence[ImageSource], form: Form = MNIST_FORM
) -> list[PreprocessedImage]:
    """Preprocess each image; small PNG files in MNIST's format take half the time.

    Args:
        images: images as for `preprocess`.
        form: the form of the pixels.

    Returns:
        One result per image, in the same order; an empty list if there are no images.

    Raises:
        ImageError: an image cannot be decoded.
    """
    count = len(images)
    is_mnist = form == MNIST_FORM and count >= _MIN_BATCH_IMAGES
    results = _plain_mnist(images) if is_mnist else [None] * count
    return [
        preprocess(image, form=form) if result is None else result
        for image, result in zip(images, results, strict=True)
    ]


def preprocess(
    image: "ImageSource | CachedDecoder", *, name: str | None = None, form: Form = MNIST_FORM
) -> PreprocessedImage:
    """Find the digit in an image and convert it to MNIST's format.

    Args:
        image: a path, bytes, a binary file object, a Pillow image, or an array. An array has the
            shape (height, width[, 1, 3 or 4]) and the dtype uint8, uint16, bool, or float with
            values from 0 to 1. A uint8 array of shape (28, 28) or (28, 28, 1) counts as pixels in
            MNIST's format and is returned without a copy. A `CachedDecoder` is decoded; it holds
            no photograph.
        name: name of the image, for error messages; None uses the path, or a word like `<bytes>`.
        form: the form of the pixels, if they are for a model of another form: ink of another size,
            or a photograph. An array of the form's own shape is returned without a copy.

    Returns:
        The digit; pixels of 0 if the image has no ink. Of a photograph, the whole image.

    Raises:
        ImageError: the image cannot be decoded.
    """
    if not isinstance(image, CachedDecoder):
        pixels = given_pixels(image, form)
        if pixels is not None:
            rows, columns = form.size
            polarity = NO_POLARITY if form.name == PHOTO else LIGHT_ON_DARK
            return PreprocessedImage(pixels, (0, 0, columns, rows), polarity, "pixels")
        if form.name == PHOTO:
            pixels, (width, height) = photo_pixels(image, form.shape, name)
            return PreprocessedImage(pixels, (0, 0, width, height), NO_POLARITY, "photo")
        name = describe(image, name)
        image = CachedDecoder(buffer_stream(image, name), name)
    decoded = image.decode(longest=_SEARCH_SIDE_PX)
    gray, (width, height) = decoded.gray, decoded.size
    if gray.shape == (28, 28) and form == MNIST_FORM:
        inverted = gray[0, 0] >= _HALF_LEVEL
        pixels = 255 - gray if inverted else gray
        if is_mnist_format(pixels):
            polarity = DARK_ON_LIGHT if inverted else LIGHT_ON_DARK
            return PreprocessedImage(
                pixels.reshape(PIXELS_SHAPE), (0, 0, 28, 28), polarity, "mnist"
            )
    for color in (False, True) if decoded.colored else (False,):
        if color:
            gray = image.decode(longest=_SEARCH_SIDE_PX, color=True).gray
        segment = segment_digit(gray)
        if segment is not None:
            break
    else:
        blank = np.zeros(form.shape, np.uint8)
        return PreprocessedImage(blank, (0, 0, width, height), DARK_ON_LIGHT, "blank")
    box = scale_box(segment.box, width / gray.shape[1], height / gray.shape[0])
    side = max(segment.ink.shape)
    factor = max(1.0, max(form.size) / max(MNIST_FORM.size))  # larger pixels need larger digits
    if side < factor * _MIN_DIGIT_PX and max(width, height) > _SEARCH_SIDE_PX:
        target = round(factor * _TARGET_DIGIT_PX)
        longest = min(_SEARCH_SIDE_PX * target // side, max(width, height))
        gray = image.decode(longest=longest, color=color).gray
        x, y = gray.shape[1] / width, gray.shape[0] / height
        margin = max(box[2] - box[0], box[3] - box[1]) // 2
        left, top = max(int((box[0] - margin) * x), 0), max(int((box[1] - margin) * y), 0)
        closer = segment_digit(
            gray[top : int((box[3] + margin) * y) + 1, left : int((box[2] + margin) * x) + 1],
            is_part=True,
        )
        if closer is not None and closer.dark == segment.dark:
            # Ink outside the crop, which makes the digit implausible, is known to the first
            # segmentation only.
            segment = replace(
                closer,
                implausible=closer.implausible or segment.implausible,
                has_neighbors=segment.has_neighbors,
            )
            x0, y0, x1, y1 = closer.box
            box = scale_box((x0 + left, y0 + top, x1 + left, y1 + top), 1 / x, 1 / y)
    polarity = DARK_ON_LIGHT if segment.dark else LIGHT_ON_DARK
    method = "color" if color else "luminance"
    is_mnist = form == MNIST_FORM
    ink = segment.ink
    return PreprocessedImage(
        tight_to_mnist_format(ink) if is_mnist else tight_to_ink_format(ink, form.size),
        box,
        polarity,
        method,
        segment.implausible or _is_dash(segment.box),
        segment.has_neighbors,
    )


def _is_dash(box: Box) -> bool:
    """Return whether ink is wider than any digit, which the network predicts as a 2."""
    return box[2] - box[0] > _MAX_ASPECT * (box[3] - box[1])


def given_pixels(image: ImageSource, form: Form) -> Pixels | None:
    """Return an image that is already a uint8 array of the form's shape; otherwise None.

    The axis of a single channel may be missing.
    """
    if isinstance(image, np.ndarray) and image.dtype == _UINT8 and image.shape in form.array_shapes:
        return image if image.shape == form.shape else image.reshape(form.shape)
    return None


def stack_pixels(images: Sequence[ImageSource], form: Form = MNIST_FORM) -> Pixels | None:
    """Stack images that are already pixels of a form to one array.

    Args:
        images: images of any kind, see `preprocess`.
        form: the form.

    Returns:
        uint8 (N, 28, 28, 1) for MNIST's form; None unless all images are uint8 arrays of one shape,
        (28, 28) or (28, 28, 1).
    """
    if set(map(type, images)) != {np.ndarray}:
        return None
    arrays = cast("Sequence[Pixels]", images)
    if arrays[0].shape not in form.array_shapes:
        return None
    # `len` checks the first axis; `concatenate` checks the other axes and the dtypes. A check in
    # Python of each array would take much longer.
    try:
        if set(map(len, arrays)) != {form.shape[0]}:
            return None
        joined = np.concatenate(arrays, dtype=np.uint8, casting="no")
    except (TypeError, ValueError):
        return None
    return joined.reshape(-1, *form.shape)


def scale_box(box: Box, x: float, y: float) -> Box:
    """Scale a box, rounded outwards to whole pixels.

    Args:
        box: left, top, right, bottom in pixels, not negative.
        x: factor of left and right.
        y: factor of top and bottom.
    """
    left, top, right, bottom = box
    return int(left * x), int(top * y), int(np.ceil(right * x)), int(np.ceil(bottom * y))


def _plain_mnist(images: Sequence[ImageSource]) -> list[PreprocessedImage | None]:
    """Read all small plain PNG files in MNIST's format at once; None for each other image.

    If an image is not a path, the result is None for all images.
    """
    preprocessed: list[PreprocessedImage | None] = [None] * len(images)
    if not all(isinstance(image, (str, os.PathLike)) for image in images):
        return preprocessed
    planes = fast_png.read_all_plain(cast("Sequence[str | os.PathLike[str]]", images), 28)
    places = [place for place, plane in enumerate(planes) if plane is not None]
    if not places:
        return preprocessed
    grays = np.stack([plane for plane in planes if plane is not None])
    inverted = grays[:, 0, 0] >= _HALF_LEVEL
    grays[inverted] ^= 255
    highest = grays.max(axis=(1, 2)).tolist()
    sums = (FORMAT_CHECK_WEIGHTS @ grays.astype(np.float32) @ FORMAT_CHECK_WEIGHTS.T).tolist()
    ready = grays.reshape(-1, *PIXELS_SHAPE)
    for number, place in enumerate(places):
        if highest[number] >= MIN_PEAK_LEVEL and has_mnist_sums(sums[number]):
            polarity = DARK_ON_LIGHT if inverted[number] else LIGHT_ON_DARK
            preprocessed[place] = PreprocessedImage(
                ready[number], (0, 0, 28, 28), polarity, "mnist"
            )
    return preprocessed


def buffer_stream(image: ImageSource, name: str) -> ImageSource:
    """Return the image in a form that can be decoded several times.

    Args:
        image: an image as for `preprocess`.
        name: name of the image, for error messages.

    Returns:
        The bytes of a file object or a named pipe, which can be read only once; otherwise the image
        itself.

    Raises:
        ImageError: a file object cannot be read, or is not binary.
    """
    if isinstance(image, (str, os.PathLike)):
        try:
            if stat.S_ISREG(os.stat(image).st_mode):
                return image
            with open(image, "rb") as pipe:
                return pipe.read()
        except (OSError, ValueError):
            return image  # `decode` raises the error
    return _read_file(image, name) if hasattr(image, "read") else image


def _read_file(file: Any, name: str) -> bytes:
    """Return all bytes of a binary file object.

    Raises:
        ImageError: the file object cannot be read, or is in text mode.
    """
    try:
        data = file.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be read ({error}); open the file again") from error
    if not isinstance(data, bytes):
        raise ImageError(f"{name}: the file object is in text mode; open the file in binary mode")
    return data
