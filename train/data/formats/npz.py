"""Reads `.npz` archives of arrays."""

import zipfile
from pathlib import Path

import numpy as np

from runtime.errors import DatasetError
from train.checkpoint import DAMAGED
from train.data.formats.arrays import MAX_BYTES, images_of, index_labels, labels_of
from train.data.raw import RawDataSet, RawSplit


def read(path: Path) -> RawDataSet:
    """Read an `.npz` with `x_train`, `y_train` and maybe `x_test`, `y_test`, or with `x`, `y`.

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
    labels = [
        labels_of(f"{path}: {y_name}", y) for (_, y), (_, y_name) in zip(loaded, pairs, strict=True)
    ]
    names, indices = index_labels(labels)
    splits = [
        RawSplit(f"{path}: {x_name}", images_of(f"{path}: {x_name}", x, len(y)), y)
        for (x, _), (x_name, _), y in zip(loaded, pairs, indices, strict=True)
    ]
    return RawDataSet(path.stem, names, splits[0], splits[1] if len(splits) > 1 else None)
