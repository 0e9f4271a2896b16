"""Reads MNIST's IDX files: four files in a folder, compressed or not."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError
from train.data.formats.arrays import MAX_BYTES, index_labels
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


def read(folder: Path) -> RawDataSet:
    """Read a folder of MNIST's four IDX files.

    Raises:
        DatasetError: a file is missing or damaged, or does not contain images or their labels.
    """
    splits, all_labels = [], []
    for part in ("train", "t10k"):
        images_path = _find(folder, f"{part}-images-idx3-ubyte")
        labels_path = _find(folder, f"{part}-labels-idx1-ubyte")
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
    train, test = (
        RawSplit(source, images, part)
        for (source, images), part in zip(splits, indices, strict=True)
    )
    return RawDataSet(folder.resolve().name, names, train, test)


def _find(folder: Path, name: str) -> Path:
    """Return the path of an IDX file, whose name may have a dot before "idx" and end in .gz."""
    names = [name, name.replace("-idx", ".idx")]
    # Prefer compressed files: downloads are compressed, and replace damaged files.
    for candidate in [folder / f"{n}{suffix}" for suffix in (".gz", "") for n in names]:
        if candidate.is_file():
            return candidate
    raise DatasetError(f"{folder} has no {name}[.gz]; add it: MNIST has four files")
