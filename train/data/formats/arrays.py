"""Brings arrays of images and labels to one layout, for the formats that contain arrays.

Images may be flat, channels first, of other dtypes and ranges. Labels may be a column, one-hot, or
floats. `.npz`, `.npy`, `.mat` and CSV files contain such arrays.
"""

import math
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError, printable
from train.data.raw import Labels

Array = npt.NDArray[np.generic]

# Largest array of images, and largest file that is read into memory at once: 1 GiB, 1.3 million
# images of 28 × 28 pixels. If a header declares more, DatasetError is raised before memory is
# allocated.
MAX_BYTES = 1 << 30
_CHANNELS = (1, 3, 4)  # gray, RGB, RGBA
_FULL_SCALES = (1, 255, 4095, 65535)  # of levels from 0: the first that is not exceeded
_CHUNK_IMAGES = 4096  # converted at a time, so that floats of all images are not in memory twice


def images_of(name: str, images: Array, count: int) -> npt.NDArray[np.uint8]:
    """Return images as uint8 (N, height, width) or (N, height, width, 3 or 4).

    Flat images, (N, height · width), must be square. The images may be on the last axis, as in
    MATLAB's files, and the channels on the first axis of an image, as in PyTorch. uint8 images in
    the right layout are not copied.

    Args:
        name: name of the array, for messages.
        images: an array of images; bool, whole numbers or floats.
        count: number of labels, which tells the axis of the images.

    Raises:
        DatasetError: the array does not contain images.
    """
    if images.dtype.kind not in "buif" or not images.size or not 2 <= images.ndim <= 4:
        raise _not_images(name, images)
    if len(images) != count:
        if images.shape[-1] != count:
            raise DatasetError(
                f"{name}: {images.shape} are not the images of {count} labels; save one label per "
                "image, images (N, height, width[, channels])"
            )
        images = np.moveaxis(images, -1, 0)
    if images.ndim == 2:
        side = math.isqrt(images.shape[1])
        if side * side != images.shape[1]:
            raise DatasetError(
                f"{name}: rows of {images.shape[1]} values are not square images; save the images "
                "as (N, height, width[, channels])"
            )
        images = images.reshape(-1, side, side)
    if images.ndim == 4 and images.shape[3] not in _CHANNELS and images.shape[1] in (1, 3):
        images = np.moveaxis(images, 1, 3)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim == 4 and images.shape[3] not in _CHANNELS:
        raise _not_images(name, images)
    return to_levels(name, images)


def _not_images(name: str, images: Array) -> DatasetError:
    return DatasetError(
        f"{name}: {images.dtype} of shape {images.shape} are not images; save them as uint8 "
        "(N, height, width[, channels])"
    )


def to_levels(name: str, values: Array) -> npt.NDArray[np.uint8]:
    """Convert values of any range to levels from 0 to 255, the same way for all images.

    The full scale is 1, 255, 4095 or 65535: the first that no value exceeds. Values from -1 to 1
    are shifted. If there are other negative values, the images are standardized (mean 0); the
    minimum becomes 0, the maximum 255, and stderr says so. uint8 is not changed, except that
    images of zeros and ones are scaled.

    Args:
        name: name of the array, for messages.
        values: bool, whole numbers or floats (N, …); N at least 1.

    Raises:
        DatasetError: a value is NaN or infinite, or larger than 65535.
    """
    low, high = float(values.min()), float(values.max())
    if values.dtype == np.uint8 and high != 1:
        return values.astype(np.uint8, copy=False)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DatasetError(f"{name} contains NaN or infinity; replace them (numpy.nan_to_num)")
    if low >= 0:
        full = next((scale for scale in _FULL_SCALES if high <= scale), None)
        if full is None:
            raise DatasetError(f"{name} has values up to {high:g}; scale them to 0 … 255")
        low, high = 0.0, float(full)
    elif low >= -1 and high <= 1:
        low, high = (-0.5, 0.5) if low >= -0.5 and high <= 0.5 else (-1.0, 1.0)
    else:
        print(
            f"{printable(name)}: values from {low:g} to {high:g} become levels from 0 to 255",
            file=sys.stderr,
        )
    levels = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _CHUNK_IMAGES):
        part = values[start : start + _CHUNK_IMAGES].astype(np.float64)
        levels[start : start + _CHUNK_IMAGES] = np.rint((part - low) * (255 / (high - low)))
    return levels


def labels_of(name: str, labels: Array) -> Array:
    """Return labels as (N,) whole numbers or text.

    A column or a row becomes one axis. One-hot rows become the index of the one. Floats that are
    whole numbers become integers.

    Args:
        name: name of the array, for messages.
        labels: whole numbers, floats, bytes or text.

    Raises:
        DatasetError: the array does not contain labels.
    """
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels)):
        labels = labels.astype(np.int64)
    if labels.ndim == 2 and labels.dtype.kind in "iub":
        numbers = labels.astype(np.int64)
        if ((numbers == 0) | (numbers == 1)).all() and (numbers.sum(1) == 1).all():
            labels = numbers.argmax(1)
    if labels.dtype.kind == "S":
        try:
            labels = np.char.decode(labels.astype(np.bytes_), "utf-8")
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{name}: a label is not UTF-8 ({error}); save the labels as text"
            ) from None
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise DatasetError(
            f"{name}: {labels.dtype} of shape {labels.shape} are not labels; save N whole numbers "
            "or names"
        )
    return labels


def index_labels(values: Sequence[Array]) -> tuple[tuple[str, ...], list[Labels]]:
    """Convert labels to class indices.

    Args:
        values: arrays of labels, each (N,): whole numbers or strings.

    Returns:
        (names, indices). The names of the classes are sorted, numbers in numerical order. For each
        array of labels, `indices` has an int64 array (N,) of indices into the names.
    """
    joined = np.concatenate(values)
    if joined.dtype.kind == "f":  # NumPy joins int64 and uint64 to float64; Python's int is exact
        joined = np.concatenate([v.astype(object) for v in values])
    names, indices = np.unique(joined, return_inverse=True)
    bounds = np.cumsum([len(v) for v in values])[:-1]
    return tuple(str(name) for name in names), [
        part.astype(np.int64) for part in np.split(indices.reshape(-1), bounds)
    ]
