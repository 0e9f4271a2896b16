"""Reads a data set from a path: MNIST's IDX files, an `.npz`, or a folder of images.

`train.data.load` calls `read` with the path of `--data`. This module reads IDX and `.npz` files;
`train.data.image_folder` reads folders of images. Damaged files raise DatasetError.
"""

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError, ImageError
from runtime.preprocess.mnist_format import PIXELS_SHAPE
from runtime.preprocess.pipeline import to_pixels
from train.checkpoint import DAMAGED
from train.data import image_folder
from train.data.mnist import IDX_UBYTE
from train.data.splits import DataSet, Split
from train.data.validate import assemble

# Largest size of an IDX file or an unpacked `.npz`: 1 GiB, 1.3 million images of 28 × 28 pixels. If
# a header or an archive declares more, DatasetError is raised before memory is allocated.
MAX_BYTES = 1 << 30


def read(path: Path, as_is: bool, test_share: float) -> DataSet:
    """Read the data set at `path` in any of the supported formats.

    Args:
        path: a folder of IDX files, an `.npz`, a folder with a single `.npz`, or a folder with one
            subfolder of images per class.
        as_is: use the images unchanged: they are uint8, 28 × 28 pixels, light on dark. Otherwise
            the runtime's preprocessing converts images of other shapes, types or file formats.
        test_share: share of the images that become test images, from 0 to 1, if the data set is
            not divided into training and test images.

    Raises:
        DatasetError: the data set is missing, damaged, in an unknown format, or unsuitable for
            training.
    """
    try:
        return _read(path, as_is, test_share)
    except OSError as error:  # the name is too long, or there is no permission
        raise DatasetError(
            f"cannot read {error.filename or path} ({error.strerror or error}); "
            "check the name and the permissions, or pass other data"
        ) from error


def _read(path: Path, as_is: bool, test_share: float) -> DataSet:
    if path.is_file() and path.suffix == ".npz":
        return _read_npz(path, as_is, test_share)
    if not path.is_dir():
        problem = "is not a data set" if path.exists() else "does not exist"
        raise DatasetError(
            f"{path} {problem}; pass a folder of MNIST's IDX files, an .npz, or a folder with one "
            "subfolder of images per class"
        )
    if any(path.glob("*-ubyte")) or any(path.glob("*-ubyte.gz")):
        return _read_idx_folder(path)
    archives = sorted(path.glob("*.npz"))
    if len(archives) == 1:
        return _read_npz(archives[0], as_is, test_share)
    return image_folder.read(path, as_is, test_share)


def index_labels(
    values: Sequence[npt.NDArray[np.generic]],
) -> tuple[tuple[str, ...], list[npt.NDArray[np.int64]]]:
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


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, compressed with gzip or not.

    The format (http://yann.lecun.com/exdb/mnist/) is: two zero bytes, the type code, the number of
    dimensions, the sizes as big-endian uint32, the data.

    Args:
        path: the file; it is decompressed if its name ends in `.gz`.

    Returns:
        An array of one to four dimensions, in the shape that the header declares.

    Raises:
        DatasetError: the file cannot be read, is not an IDX file of bytes, declares more than
            MAX_BYTES, or has another length than its header declares.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            zeros, kind, rank = struct.unpack(">HBB", file.read(4))
            if zeros or kind != IDX_UBYTE or not 1 <= rank <= 4:
                raise DatasetError(f"{path} is not an IDX file of bytes; download it again")
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            size = math.prod(shape)
            if size > MAX_BYTES:
                raise DatasetError(
                    f"{path}: the header declares {size} bytes, but at most {MAX_BYTES} are "
                    "supported; download it again"
                )
            data = file.read(size + 1)
    except (struct.error, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is truncated or damaged ({error}); download it again") from None
    except OSError as error:
        raise DatasetError(
            f"cannot read {path} ({error.strerror or error}); download it again"
        ) from None
    if len(data) != size:
        actual = "more" if len(data) > size else f"{len(data)}"
        raise DatasetError(
            f"{path}: the header declares {size} bytes, but the file has {actual}; "
            "download it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_idx_folder(folder: Path) -> DataSet:
    """Read a folder of MNIST's four IDX files."""
    all_pixels, all_labels = [], []
    for part in ("train", "t10k"):
        images_path = _find(folder, f"{part}-images-idx3-ubyte")
        labels_path = _find(folder, f"{part}-labels-idx1-ubyte")
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.ndim != 3 or images.shape[1:] != PIXELS_SHAPE[:2] or not len(images):
            raise DatasetError(
                f"{images_path} contains an array of shape {images.shape}, not (N, 28, 28); "
                "pass images of 28x28 pixels"
            )
        if labels.shape != images.shape[:1]:
            raise DatasetError(
                f"{labels_path} has {labels.size} labels for the {len(images)} images of "
                f"{images_path.name}; download both files again"
            )
        all_pixels.append(images[..., None])
        all_labels.append(labels)
    names, indices = index_labels(all_labels)
    train, test = (Split(pixels, part) for pixels, part in zip(all_pixels, indices, strict=True))
    return assemble(folder.resolve().name, train, test, names, 0)


def _find(folder: Path, name: str) -> Path:
    """Return the path of an IDX file, whose name may have a dot before "idx" and end in .gz."""
    names = [name, name.replace("-idx", ".idx")]
    # Prefer compressed files: downloads are compressed, and replace damaged files.
    for candidate in [folder / f"{n}{suffix}" for suffix in (".gz", "") for n in names]:
        if candidate.is_file():
            return candidate
    raise DatasetError(f"{folder} has no {name}[.gz]; add it: MNIST has four files")


def _read_npz(path: Path, as_is: bool, test_share: float) -> DataSet:
    """Read an `.npz` with `x_train`, `y_train` and maybe `x_test`, `y_test`, or with `x`, `y`."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise DatasetError(
                    f"{path} unpacks to more than {MAX_BYTES} bytes; save fewer images"
                )
            if any(member.compress_type == zipfile.ZIP_LZMA for member in archive.infolist()):
                raise DatasetError(
                    f"{path} is compressed with LZMA; save it with numpy.savez_compressed"
                )
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            keys = set(arrays.files)
            if {"x_train", "y_train"} <= keys:
                pairs = [("x_train", "y_train")]
                pairs += [("x_test", "y_test")] if {"x_test", "y_test"} <= keys else []
            elif {"x", "y"} <= keys:
                pairs = [("x", "y")]
            else:
                raise DatasetError(
                    f"{path} contains {', '.join(sorted(keys)) or 'nothing'}; "
                    "save x_train, y_train, x_test and y_test, or x and y"
                )
            # NumPy returns members that are not .npy files as bytes.
            loaded = [(np.asarray(arrays[x]), np.asarray(arrays[y])) for x, y in pairs]
    except DAMAGED as e:
        raise DatasetError(
            f"{path} is not an .npz of plain arrays, or is damaged ({e}); save it again"
        ) from None
    for (x, y), (x_name, y_name) in zip(loaded, pairs, strict=True):
        if (
            y.ndim != 1
            or y.dtype.kind not in "iuUS"
            or x.ndim < 3
            or len(x) != len(y)
            or not len(x)
        ):
            raise DatasetError(
                f"{path}: {x_name} {x.shape} and {y_name} {y.shape} {y.dtype} are not images and "
                "their labels; save images (N, height, width[, channels]) and N whole numbers or "
                "names"
            )
    try:
        decoded = [np.char.decode(y) if y.dtype.kind == "S" else y for _, y in loaded]
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: a label is not UTF-8 ({error}); save the labels as text"
        ) from None
    names, labels = index_labels(decoded)
    splits = [
        Split(_pixels(f"{path}: {x_name}", x, as_is), y)
        for (x, _), (x_name, _), y in zip(loaded, pairs, labels, strict=True)
    ]
    test = splits[1] if len(splits) > 1 else None
    return assemble(path.stem, splits[0], test, names, test_share)


def _pixels(name: str, images: npt.NDArray[np.generic], as_is: bool) -> npt.NDArray[np.uint8]:
    """Convert images to pixels, uint8 (N, 28, 28, 1); uint8 images of 28x28 are not changed."""
    if images.dtype == np.uint8 and images.shape[1:] in (PIXELS_SHAPE, PIXELS_SHAPE[:2]):
        return images.astype(np.uint8, copy=False).reshape(-1, *PIXELS_SHAPE)
    if as_is:
        raise DatasetError(
            f"{name} has {images.dtype} images of shape {images.shape[1:]}, but --as-is needs "
            "uint8 images of shape (28, 28); omit --as-is to have the images converted"
        )
    try:
        return np.stack([to_pixels(image, name=f"{name}[{n}]") for n, image in enumerate(images)])
    except ImageError as error:
        raise DatasetError(str(error)) from error
