"""Reads MATLAB files of version 5: EMNIST, SVHN's cropped digits, and images with labels.

SciPy is imported only here.
"""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import DatasetError
from train.data.formats import emnist
from train.data.formats.arrays import MAX_BYTES, images_of, index_labels, labels_of
from train.data.formats.npz import pairs_of
from train.data.formats.parts import TEST, part_of
from train.data.raw import RawDataSet, RawSplit

SUFFIX = ".mat"
_HEADER_BYTES = 128
_COMPRESSED = 15  # type of an element compressed with zlib
_CHUNK_BYTES = 1 << 20
_HDF5 = b"\x89HDF"  # first bytes of version 7.3, and of the header's text "MATLAB 7.3"
_SVHN_SIDE_PX = 32


def read(path: Path) -> RawDataSet:
    """Read EMNIST's `.mat`, SVHN's `train_32x32.mat` and `test_32x32.mat`, or images and labels.

    Args:
        path: the file; the file of test images beside it is read too.

    Raises:
        DatasetError: SciPy is not installed; the file is damaged, too large or of version 7.3; or
            it does not contain images and their labels.
    """
    variables = _load(path)
    if "dataset" in variables:
        return _read_emnist(path, variables["dataset"])
    files = [path]
    if part_of(path.name) == "train":
        name = path.name.replace("train", "test", 1)
        if (path.parent / name).is_file():
            files.append(path.parent / name)
    splits = []
    for file in files:
        arrays = variables if file == path else _load(file)
        pairs = pairs_of(list(arrays))
        if not pairs:
            raise DatasetError(
                f"{file} contains {', '.join(sorted(arrays)[:10]) or 'nothing'}; save X and y, or "
                "x_train, y_train, x_test and y_test"
            )
        keys = ["train", None, TEST] if len(files) == 1 else list(pairs)[:1]
        splits += [
            (f"{file}: {pairs[key][0]}", arrays[pairs[key][0]], arrays[pairs[key][1]])
            for key in keys
            if key in pairs
        ]
    splits = splits[:2]
    labels = [labels_of(source, y) for source, _, y in splits]
    images = [
        images_of(source, x, len(y)) for (source, x, _), y in zip(splits, labels, strict=True)
    ]
    if path.name.endswith(f"_{_SVHN_SIDE_PX}x{_SVHN_SIDE_PX}{SUFFIX}"):
        labels = [y % 10 for y in labels]  # SVHN's label of the digit 0 is 10
    names, indices = index_labels(labels)
    parts = [
        RawSplit(source, x, y) for (source, _, _), x, y in zip(splits, images, indices, strict=True)
    ]
    return RawDataSet(path.stem, names, parts[0], parts[1] if len(parts) > 1 else None)


def _read_emnist(path: Path, record: Any) -> RawDataSet:
    """Read the struct `dataset` with train.images, train.labels, test and mapping.

    MATLAB stores the pixels of an image by columns, so a row reshaped by rows is transposed.
    """
    splits, values = [], []
    try:
        for part in ("train", "test"):
            fields = record[part]
            values.append(labels_of(f"{path}: {part}.labels", np.asarray(fields["labels"])))
            flat = images_of(
                f"{path}: {part}.images", np.asarray(fields["images"]), len(values[-1])
            )
            splits.append(emnist.upright(flat))
        mapping = np.asarray(record["mapping"])
        characters = {str(int(row[0])): chr(int(row[1])) for row in mapping}
        names, indices = index_labels(values)
        names = tuple(characters[name] for name in names)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{path}: dataset is not EMNIST's ({error!r}); download it again"
        ) from None
    train, test = (
        RawSplit(f"{path}: {part}.images", images, labels)
        for part, images, labels in zip(("train", "test"), splits, indices, strict=True)
    )
    return RawDataSet(path.stem, names, train, test)


def _load(path: Path) -> dict[str, Any]:
    """Return the variables of a file.

    Raises:
        DatasetError: see `read`.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise DatasetError(
            f'{path}: reading MATLAB files needs SciPy; pip install "digit-edge[train]"'
        ) from error
    if path.stat().st_size > MAX_BYTES:
        raise _too_large(path)
    data = path.read_bytes()
    if data[:4] == _HDF5 or data.startswith(b"MATLAB 7.3"):
        raise DatasetError(f"{path} has version 7.3; save it in MATLAB with save(…, '-v7')")
    _check_size(path, data)
    try:
        loaded = loadmat(
            io.BytesIO(data), simplify_cells=True, verify_compressed_data_integrity=True
        )
    except (
        MatReadError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError,
        RuntimeError, MemoryError, OverflowError, zlib.error, struct.error,
    ) as error:  # fmt: skip
        raise DatasetError(
            f"{path} is not a MATLAB file or is damaged ({error}); save it again"
        ) from None
    return {
        name: value if isinstance(value, dict) else np.asarray(value)
        for name, value in loaded.items()
        if not name.startswith("__")
    }


def _too_large(path: Path) -> DatasetError:
    return DatasetError(f"{path} unpacks to more than {MAX_BYTES} bytes; save fewer images")


def _check_size(path: Path, data: bytes) -> None:
    """Raise DatasetError if the compressed elements of a file unpack to more than MAX_BYTES."""
    order = ">" if data[126:128] == b"MI" else "<"
    place, size = _HEADER_BYTES, 0
    while place + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, place)
        place += 8
        if kind == _COMPRESSED:
            unpacker, rest = zlib.decompressobj(), data[place : place + length]
            while rest and not unpacker.eof:
                try:
                    size += len(unpacker.decompress(rest, _CHUNK_BYTES))
                except zlib.error:
                    return  # SciPy reports the damage
                if size > MAX_BYTES:
                    raise _too_large(path)
                rest = unpacker.unconsumed_tail
        place += length
