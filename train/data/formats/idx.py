"""Reads IDX files of MNIST, EMNIST and similar data sets: four files, compressed or not."""

import gzip
import math
import re
import struct
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError
from train.data.formats import emnist
from train.data.formats.arrays import MAX_BYTES, index_labels
from train.data.formats.parts import name_of
from train.data.mnist import IDX_UBYTE
from train.data.raw import RawDataSet, RawSplit


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


# IDX files by their usual names: train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte,
# emnist-letters-test-images-idx3-ubyte.gz, qmnist-train-images-idx3-ubyte.
_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<part>train|t10k|test)[-_.](?P<kind>images|labels)"
    r"([-_.]idx[123])?([-_.](ubyte|byte))?(\.gz)?",
    re.IGNORECASE,
)
_PARTS = {"train": "train", "t10k": "test", "test": "test"}

# Prefix of the names ("" for MNIST) → (part, kind) → files, the preferred first.
_Found = dict[str, dict[tuple[str, str], list[Path]]]


def data_sets(folder: Path) -> _Found:
    """Return the IDX files in a folder, grouped by data set."""
    found: _Found = defaultdict(lambda: defaultdict(list))
    # Prefer compressed files: downloads are compressed, and replace damaged files.
    paths = sorted(folder.iterdir(), key=lambda path: (path.suffix != ".gz", path.name))
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match and ("ubyte" in path.name or "idx" in path.name) and path.is_file():
            key = _PARTS[match["part"].lower()], match["kind"].lower()
            found[match["prefix"]][key].append(path)
    return found


def is_idx(path: Path) -> bool:
    """Return whether a file has a name of an IDX file."""
    return path.is_file() and bool(_NAME.fullmatch(path.name)) and "idx" in path.name


def read(path: Path) -> RawDataSet:
    """Read MNIST's four IDX files or EMNIST's, whose images are turned upright.

    Args:
        path: a folder with the files of one data set, or one of the files.

    Raises:
        DatasetError: a file is missing or damaged, or does not contain images or their labels; or
            the folder contains several data sets.
    """
    folder = path if path.is_dir() else path.parent
    found = data_sets(folder)
    if path.is_file():
        match = _NAME.fullmatch(path.name)
        prefix = match["prefix"] if match else ""
    elif len(found) == 1 or "" in found:
        prefix = "" if "" in found else next(iter(found))
    else:
        files = sorted(files[0].name for kinds in found.values() for files in kinds.values())
        example = next((name for name in files if "train-images" in name), files[0])
        raise DatasetError(
            f"{folder} contains {len(found)} data sets ({', '.join(sorted(found))}); pass one file "
            f"of the set to read, such as {folder / example}"
        )
    splits, all_labels = [], []
    for part in ("train", "test"):
        images_path, labels_path = (
            _find(folder, found[prefix], prefix, part, kind) for kind in ("images", "labels")
        )
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.ndim != 3 or not images.size:
            raise DatasetError(
                f"{images_path} contains an array of shape {images.shape}, not (N, height, width); "
                "download it again"
            )
        if labels.shape != images.shape[:1]:
            raise DatasetError(
                f"{labels_path} has {labels.size} labels for the {len(images)} images of "
                f"{images_path.name}; download both files again"
            )
        splits.append((str(images_path), images))
        all_labels.append(labels)
    names, indices = index_labels(all_labels)
    emnist_split = emnist.split_of(prefix)
    if emnist_split is not None:
        names = emnist.class_names(folder, emnist_split, names)
        splits = [(source, emnist.upright(images)) for source, images in splits]
    train, test = (
        RawSplit(source, images, part)
        for (source, images), part in zip(splits, indices, strict=True)
    )
    name = prefix.strip("-_. ") or name_of(folder)
    return RawDataSet(name, names, train, test)


def _find(
    folder: Path, found: dict[tuple[str, str], list[Path]], prefix: str, part: str, kind: str
) -> Path:
    """Return the path of an IDX file."""
    if files := found.get((part, kind)):
        return files[0]
    word = "t10k" if part == "test" and not prefix else part
    rank = 3 if kind == "images" else 1
    raise DatasetError(
        f"{folder} has no {prefix}{word}-{kind}-idx{rank}-ubyte[.gz]; add it: the data set has "
        "four files"
    )
