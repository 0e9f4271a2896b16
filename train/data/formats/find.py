"""Finds the format of a data set, and reads it."""

from pathlib import Path

from runtime.errors import DatasetError
from train.data.formats import idx, image_folder, npz
from train.data.raw import RawDataSet


def read(path: Path) -> RawDataSet:
    """Read the data set at `path` in any of the supported formats.

    Args:
        path: a folder of IDX files, an `.npz`, a folder with a single `.npz`, or a folder with one
            subfolder of images per class.

    Raises:
        DatasetError: the data set is missing or damaged, or its format is unknown.
    """
    try:
        return _read(path)
    except OSError as error:  # the name is too long, or there is no permission
        raise DatasetError(
            f"cannot read {error.filename or path} ({error.strerror or error}); "
            "check the name and the permissions, or pass other data"
        ) from error


def _read(path: Path) -> RawDataSet:
    if path.is_file() and path.suffix == ".npz":
        return npz.read(path)
    if not path.is_dir():
        problem = "is not a data set" if path.exists() else "does not exist"
        raise DatasetError(
            f"{path} {problem}; pass a folder of MNIST's IDX files, an .npz, or a folder with one "
            "subfolder of images per class"
        )
    if any(path.glob("*-ubyte")) or any(path.glob("*-ubyte.gz")):
        return idx.read(path)
    archives = sorted(path.glob("*.npz"))
    if len(archives) == 1:
        return npz.read(archives[0])
    return image_folder.read(path)
