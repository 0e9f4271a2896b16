"""Reads data sets from IDX and `.npz` files; `image_folder` reads folders of images."""

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

# 1.3 million images, twenty times MNIST: a header or an archive that promises more is refused
# before it is given the memory.
MAX_BYTES = 1 << 30


def read(path: Path, as_is: bool, test_share: float) -> DataSet:
    """Read the data set at `path`, whichever of the known forms it has.

    Args:
        path: see `train.data.load.load`.
        as_is: see `train.data.load.load`.
        test_share: of a set that comes undivided, what to keep to measure with.

    Raises:
        DatasetError: absent, damaged, of no known form, or unfit to train on.
    """
    try:
        return _read(path, as_is, test_share)
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise DatasetError(
            f"cannot read {error.filename or path} ({error.strerror or error}); "
            "give other data, or the right to read it"
        ) from error


def _read(path: Path, as_is: bool, test_share: float) -> DataSet:
    if path.is_file() and path.suffix == ".npz":
        return _read_npz(path, as_is, test_share)
    if not path.is_dir():
        what = "is no data set" if path.exists() else "does not exist"
        raise DatasetError(
            f"{path} {what}; give a folder of MNIST's IDX files, an .npz, or a folder with one "
            "subfolder of images a class"
        )
    if any(path.glob("*-ubyte")) or any(path.glob("*-ubyte.gz")):
        return _read_idx_folder(path)
    archives = sorted(path.glob("*.npz"))
    if len(archives) == 1:
        return _read_npz(archives[0], as_is, test_share)
    return image_folder.read(path, as_is, test_share)


def index_labels(
    values: Sequence[npt.NDArray[np.generic]],
) -> tuple[tuple[str, ...], list[npt.NDArray[np.int64]]]:  # noqa: E501
    """Names of the classes, numbers in order of size, and each array's labels as indices."""
    joined = np.concatenate(values)
    if joined.dtype.kind == "f":  # int64 and uint64 have no whole type in common but Python's
        joined = np.concatenate([v.astype(object) for v in values])
    names, indices = np.unique(joined, return_inverse=True)
    at = np.cumsum([len(v) for v in values])[:-1]
    return tuple(str(name) for name in names), [
        part.astype(np.int64) for part in np.split(indices.reshape(-1), at)
    ]


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read one IDX file of bytes, gzip or raw.

    The format: http://yann.lecun.com/exdb/mnist/, two zeros, type, dimensions, sizes, data.

    Raises:
        DatasetError: no IDX file, or not as long as its header says.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            zeros, kind, rank = struct.unpack(">HBB", file.read(4))
            if zeros or kind != IDX_UBYTE or not 1 <= rank <= 4:
                raise DatasetError(f"{path} is no IDX file of bytes; download it again")
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            size = math.prod(shape)
            if size > MAX_BYTES:
                raise DatasetError(
                    f"{path}: its header promises {size} bytes, more than {MAX_BYTES}; "
                    "download it again"
                )
            data = file.read(size + 1)
    except (struct.error, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is cut short or damaged ({error}); download it again") from None
    except OSError as error:
        raise DatasetError(
            f"cannot read {path} ({error.strerror or error}); download it again"
        ) from None
    if len(data) != size:
        found = "more" if len(data) > size else f"{len(data)}"
        raise DatasetError(
            f"{path}: its header promises {size} bytes, it has {found}; download it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_idx_folder(folder: Path) -> DataSet:
    splits = []
    for part in ("train", "t10k"):
        images_path = _find(folder, f"{part}-images-idx3-ubyte")
        labels_path = _find(folder, f"{part}-labels-idx1-ubyte")
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.ndim != 3 or images.shape[1:] != PIXELS_SHAPE[:2] or not len(images):
            raise DatasetError(
                f"{images_path} holds an array of {images.shape}, not images of 28x28; "
                "give MNIST's form"
            )
        if labels.shape != images.shape[:1]:
            raise DatasetError(
                f"{labels_path} has {labels.size} labels for the {len(images)} images of "
                f"{images_path.name}; download both again"
            )
        splits.append((images[..., None], labels))
    (train_images, train_labels), (test_images, test_labels) = splits
    names, (train_labels, test_labels) = index_labels([train_labels, test_labels])
    train, test = Split(train_images, train_labels), Split(test_images, test_labels)
    return assemble(folder.resolve().name, train, test, names, 0)


def _find(folder: Path, name: str) -> Path:
    names = [name, name.replace("-idx", ".idx")]
    # The compressed one first: that is what is downloaded to take the place of what is damaged.
    for candidate in [folder / f"{n}{suffix}" for suffix in (".gz", "") for n in names]:
        if candidate.is_file():
            return candidate
    raise DatasetError(f"{folder} has no {name}[.gz]; give all four of MNIST's files")


def _read_npz(path: Path, as_is: bool, test_share: float) -> DataSet:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise DatasetError(f"{path} unpacks to more than {MAX_BYTES} bytes; give less")
            if any(member.compress_type == zipfile.ZIP_LZMA for member in archive.infolist()):
                raise DatasetError(f"{path} is packed with LZMA; save it with numpy.savez again")
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            keys = set(arrays.files)
            if {"x_train", "y_train"} <= keys:
                pairs = [("x_train", "y_train")]
                pairs += [("x_test", "y_test")] if {"x_test", "y_test"} <= keys else []
            elif {"x", "y"} <= keys:
                pairs = [("x", "y")]
            else:
                raise DatasetError(
                    f"{path} holds {', '.join(sorted(keys)) or 'nothing'}; "
                    "give x_train, y_train, x_test, y_test, or x and y"
                )
            # Members that are no .npy come as bytes.
            read = [(np.asarray(arrays[x]), np.asarray(arrays[y])) for x, y in pairs]
    except DAMAGED as e:
        raise DatasetError(
            f"{path} is no whole .npz of plain arrays ({e}); save it again"
        ) from None
    for (x, y), (x_name, y_name) in zip(read, pairs, strict=True):
        if (
            y.ndim != 1
            or y.dtype.kind not in "iuUS"
            or x.ndim < 3
            or len(x) != len(y)
            or not len(x)
        ):
            raise DatasetError(
                f"{path}: {x_name} {x.shape} and {y_name} {y.shape} {y.dtype} do not fit; "
                "give images (N, height, width[, channels]) and N whole numbers or names"
            )
    try:
        decoded = [np.char.decode(y) if y.dtype.kind == "S" else y for _, y in read]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: a label is not UTF-8 ({error}); save them as text") from None
    names, labels = index_labels(decoded)
    splits = [
        Split(_pixels(f"{path}: {x_name}", x, as_is), y)
        for (x, _), (x_name, _), y in zip(read, pairs, labels, strict=True)
    ]
    test = splits[1] if len(splits) > 1 else None
    return assemble(path.stem, splits[0], test, names, test_share)


def _pixels(name: str, images: npt.NDArray[np.generic], as_is: bool) -> npt.NDArray[np.uint8]:
    """Arrays as pixels: uint8 of 28x28 are pixels already, all others are images."""
    if images.dtype == np.uint8 and images.shape[1:] in (PIXELS_SHAPE, PIXELS_SHAPE[:2]):
        return images.reshape(-1, *PIXELS_SHAPE)
    if as_is:
        raise DatasetError(
            f"{name} has {images.dtype} images of {images.shape[1:]}: as they are, they must be "
            "uint8 of (28, 28); leave --as-is away to have them brought into that form"
        )
    try:
        return np.stack([to_pixels(image, name=f"{name}[{n}]") for n, image in enumerate(images)])
    except ImageError as error:
        raise DatasetError(str(error)) from error
