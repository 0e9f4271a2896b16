"""Reads arrays that NumPy saved: `.npz` archives, and folders of `.npy` files."""

import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError
from train.checkpoint import DAMAGED
from train.data.formats.arrays import MAX_BYTES, Array, images_of, index_labels, labels_of
from train.data.formats.parts import TEST, name_of, part_of
from train.data.raw import RawDataSet, RawSplit

# Words in the names of arrays, and single letters.
_IMAGE_WORDS = frozenset({"x", "images", "image", "imgs", "img", "data", "pixels", "features"})
_LABEL_WORDS = frozenset({"y", "labels", "label", "targets", "target", "classes", "class"})
_PART_WORDS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
_MAX_CLASSES_OF_ARRAYS = 1000  # arrays of an archive with one array per class

# Part ("train", "test" or None) → (name of the images, name of the labels).
_Pairs = dict[str | None, tuple[str, str]]


def read(path: Path) -> RawDataSet:
    """Read an `.npz` of images and labels, divided into training and test images or not.

    The names are any of `x_train`, `train_images`, `X`, `data`, … with `y_train`, `train_labels`,
    `y`, `labels`, ….

    Raises:
        DatasetError: the file is damaged, or does not contain images and their labels.
    """
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
            names = _used(path, arrays.files)
            # NumPy returns members that are not .npy files as bytes.
            loaded = {name: np.asarray(arrays[name]) for name in names}
    except DAMAGED as e:
        raise DatasetError(
            f"{path} is not an .npz of plain arrays, or is damaged ({e}); save it again"
        ) from None
    return _data_set(path, path.stem, loaded)


def read_npy(path: Path) -> RawDataSet:
    """Read a folder of `.npy` files with the names of `read`, or with one file per class.

    Args:
        path: the folder, or a file in it.

    Raises:
        DatasetError: a file is damaged, or they do not contain images and their labels.
    """
    folder = path if path.is_dir() else path.parent
    files = {
        file.stem: file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() == ".npy" and file.is_file()
    }
    loaded, size = {}, 0
    for name in _used(folder, list(files)):
        try:
            array = np.load(files[name], mmap_mode="r", allow_pickle=False)
            size += array.nbytes
            if size > MAX_BYTES:
                raise DatasetError(
                    f"{folder}: the arrays have more than {MAX_BYTES} bytes; save fewer images"
                )
            loaded[name] = np.array(array)
        except DAMAGED as e:
            raise DatasetError(
                f"{files[name]} is not a plain array, or is damaged ({e}); save it again"
            ) from None
    return _data_set(folder, name_of(folder), loaded)


def _used(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names of the arrays to load.

    Raises:
        DatasetError: the names are not those of images and labels, nor of classes.
    """
    pairs = pairs_of(names)
    if pairs:
        return [name for pair in pairs.values() for name in pair]
    if 2 <= len(names) <= _MAX_CLASSES_OF_ARRAYS and not any(map(_kind_of, names)):
        return list(names)
    raise DatasetError(
        f"{path} contains {', '.join(sorted(names)[:10]) or 'nothing'}; "
        "save x_train, y_train, x_test and y_test, or x and y"
    )


def pairs_of(names: Sequence[str]) -> _Pairs:
    """Return the names of the images and the labels of each part.

    Names of images and labels belong together if they have the same part. An archive of one array
    without a part is not divided. Validation images without training images are not used.
    """
    found: dict[tuple[str, str | None], str] = {}
    for name in sorted(names):
        kind, part = _kind_of(name), part_of(name)
        if kind and not (part == "train" and "val" in name.lower()):
            found.setdefault((kind, part), name)
    return {
        part: (found["images", part], found["labels", part])
        for part in ("train", TEST, None)
        if ("images", part) in found and ("labels", part) in found
    }


def _kind_of(name: str) -> str | None:
    """Return "images", "labels", or None for other names."""
    words = {word for word in re.split(r"[^a-z]+", name.lower()) if word} - _PART_WORDS
    for kind, known in (("labels", _LABEL_WORDS), ("images", _IMAGE_WORDS)):
        if words & known or any(
            re.fullmatch(rf"({word}(train|test)|(train|test){word}|{word})", name.lower())
            for word in known
        ):
            return kind
    return None


def _data_set(path: Path, name: str, loaded: Mapping[str, Array]) -> RawDataSet:
    """Return the data set of arrays in memory; without labels, each array is a class."""
    pairs = pairs_of(list(loaded))
    if not pairs:
        return _one_array_per_class(path, name, loaded)
    if "train" in pairs:
        pairs.pop(None, None)
    elif None in pairs and TEST in pairs:
        pairs = {None: pairs[None], TEST: pairs[TEST]}
    values = [labels_of(f"{path}: {y}", loaded[y]) for _, y in pairs.values()]
    for (x, y), labels in zip(pairs.values(), values, strict=True):
        if not len(labels):
            raise DatasetError(f"{path}: {y} has no labels; save x and y of at least two classes")
        if loaded[x].ndim == 0:
            raise DatasetError(f"{path}: {x} is not images; save (N, height, width[, channels])")
    names, indices = index_labels(values)
    splits = [
        RawSplit(f"{path}: {x}", images_of(f"{path}: {x}", loaded[x], len(labels)), labels)
        for (x, _), labels in zip(pairs.values(), indices, strict=True)
    ]
    return RawDataSet(name, names, splits[0], splits[1] if len(splits) > 1 else None)


def _one_array_per_class(path: Path, name: str, loaded: Mapping[str, Array]) -> RawDataSet:
    """Return a data set whose classes are the names of the arrays, as Quick, Draw! has them."""
    arrays: list[npt.NDArray[np.uint8]] = []
    for key, array in loaded.items():
        if array.ndim < 2 or array.shape[1:] != next(iter(loaded.values())).shape[1:]:
            raise DatasetError(
                f"{path}: {key} {array.shape} is not the images of a class; save x_train, y_train, "
                "x_test and y_test, or x and y"
            )
        arrays.append(images_of(f"{path}: {key}", array, len(array)))
    if math.prod(arrays[0].shape[1:]) < 2:
        raise DatasetError(f"{path}: the arrays are not images; save x and y")
    counts = [len(array) for array in arrays]
    labels = np.repeat(np.arange(len(arrays)), counts).astype(np.int64)
    return RawDataSet(
        name, tuple(loaded), RawSplit(str(path), np.concatenate(arrays), labels), None
    )
