"""Finds the format of a data set, and reads it."""

from collections import Counter
from pathlib import Path

from runtime.errors import DatasetError
from train.data.formats import (
    archive,
    idx,
    image_folder,
    label_table,
    matlab,
    npz,
    parquet,
    pixel_csv,
    text_file,
)
from train.data.formats.parts import TEST, TRAIN, divide, part_of
from train.data.raw import RawDataSet

_FORMATS = (
    "a folder with one subfolder of images per class, images with a labels.csv, MNIST's or "
    "EMNIST's IDX files, a CSV of pixels, an .npz, .npy, .mat, .parquet or .zip"
)
# Suffixes of formats that are not read → what to do.
_REMEDIES = {
    (".pkl", ".pickle", ".pkl.gz", ".pt", ".pth", ".joblib"): (
        "this format can run any program when it is opened, and is not read; convert a file that "
        "you trust with numpy.savez_compressed('digits.npz', x_train=…, y_train=…)"
    ),
    (".h5", ".hdf5", ".arrow", ".feather", ".tfrecord", ".tfrecords", ".msgpack"): (
        "this format is not read; save the arrays with "
        "numpy.savez_compressed('digits.npz', x_train=…, y_train=…)"
    ),
    (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar"): (
        "this archive is not read; unpack it and pass the folder"
    ),
    (".xlsx", ".xls", ".ods"): "this format is not read; save the table as CSV UTF-8",
    (".json",): "this format is not read; write a labels.csv with the columns file and label",
    image_folder.IMAGE_SUFFIXES: (
        "one image is not a data set; pass a folder with one subfolder of images per class"
    ),
}
_MAX_LEVELS = 4  # of folders inside folders that are searched for files of a data set
_MAX_FOLDERS = 1000  # that are searched
_LISTED = 6  # kinds of files that a message names


def read(path: Path) -> RawDataSet:
    """Read the data set at `path` in any of the supported formats.

    Args:
        path: a file or a folder; see docs/train.md for all formats.

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
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise DatasetError(f"{path} does not exist; pass {_FORMATS}")
    if not path.is_file():
        raise DatasetError(f"{path} is not a file or a folder; pass {_FORMATS}")
    if path.name.lower().endswith(archive.SUFFIX):
        return _read_folder(archive.unpack(path))
    found = _read_file(path)
    if found is None:
        raise _unknown_file(path)
    return found


def _read_file(path: Path) -> RawDataSet | None:
    """Read a data set from a file; None if its format is unknown."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return npz.read(path)
    if suffix == ".npy":
        return npz.read_npy(path)
    if suffix == parquet.SUFFIX:
        return parquet.read(path)
    if suffix == matlab.SUFFIX:
        return matlab.read(path)
    if idx.is_idx(path):
        return idx.read(path)
    if text_file.is_table(path) or suffix == label_table.JSON_LINES:
        if text_file.is_table(path) and pixel_csv.is_pixel_table(path):
            return pixel_csv.read(path)
        others = label_table.tables(path.parent) if part_of(path.name) == TRAIN else []
        test = [other for other in others if part_of(other.name) == TEST]
        return image_folder.read_tables(path.parent, [path, *test])
    return None


def _unknown_file(path: Path) -> DatasetError:
    for suffixes, remedy in _REMEDIES.items():
        if path.name.lower().endswith(suffixes):
            return DatasetError(f"{path}: {remedy}")
    return DatasetError(f"{path} is not a data set; pass {_FORMATS}")


def _read_folder(folder: Path) -> RawDataSet:
    """Read the data set of files in a folder or in a folder inside it, or a folder of images.

    Torchvision stores MNIST in `MNIST/raw`; archives add outer folders. The level nearest to
    `folder` counts on which a folder has files of a data set, or several folders have images.

    Raises:
        DatasetError: several folders of a level contain a data set; see also `read`.
    """
    level = [folder]
    for _ in range(_MAX_LEVELS):
        found = [path for path in level if _has_data_set(path)]
        if found and sum(_has_images(path) for path in level) <= 1:
            if len(found) > 1:
                names = ", ".join(str(path.relative_to(folder)) for path in found[:_LISTED])
                raise DatasetError(
                    f"{folder} contains several data sets ({names}); pass the folder of one of them"
                )
            return _read_files_of(found[0])
        if any(_has_images(path) for path in level):
            break
        level = [inner for path in level for inner in image_folder.visible_subfolders(path)]
        level = level[:_MAX_FOLDERS]
    if not level and not image_folder.visible_subfolders(folder):
        raise _unknown_folder(folder)
    return image_folder.read(image_folder.unwrapped(folder))


def _has_data_set(folder: Path) -> bool:
    return _files_of_reader(folder) is not None or bool(label_table.tables(folder))


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in image_folder.IMAGE_SUFFIXES for path in folder.iterdir())


def _files_of_reader(folder: Path) -> list[Path] | None:
    """Return the files in a folder that one of the readers of files reads; None without any."""
    files = [path for path in sorted(folder.iterdir()) if image_folder.is_visible_file(path)]
    if idx.data_sets(folder):
        return [folder]
    for suffix in (".npz", ".npy", parquet.SUFFIX, matlab.SUFFIX):
        if found := [path for path in files if path.suffix.lower() == suffix]:
            return found
    return [path for path in files if pixel_csv.is_pixel_table(path)] or None


def _read_files_of(folder: Path) -> RawDataSet:
    """Read the data set of the files in a folder."""
    files = _files_of_reader(folder)
    if files is None:
        return image_folder.read(folder)
    suffix = files[0].suffix.lower()
    if suffix in (".npz", matlab.SUFFIX):
        train, _, other = divide(files)
        chosen = train if train and not other and suffix == matlab.SUFFIX else files
        if len(chosen) > 1:
            names = ", ".join(path.name for path in files[:_LISTED])
            raise DatasetError(f"{folder} contains {names}; pass the path of one of them")
        return npz.read(chosen[0]) if suffix == ".npz" else matlab.read(chosen[0])
    if suffix == ".npy":
        return npz.read_npy(folder)
    if suffix == parquet.SUFFIX:
        return parquet.read(folder)
    return idx.read(folder) if files == [folder] else pixel_csv.read(folder)


def _unknown_folder(folder: Path) -> DatasetError:
    """Return the error for a folder without subfolders, images or files of a data set."""
    for path in sorted(folder.iterdir()):
        for suffixes, remedy in _REMEDIES.items():
            if path.name.lower().endswith((*suffixes, archive.SUFFIX)):
                if path.name.lower().endswith(archive.SUFFIX):
                    remedy = "pass the path of the archive"
                return DatasetError(f"{path}: {remedy}")
    kinds = Counter(path.suffix.lower() or "no suffix" for path in folder.iterdir())
    listed = ", ".join(f"{count:,} {suffix}" for suffix, count in kinds.most_common(_LISTED))
    return DatasetError(
        f"{folder} contains {listed or 'nothing'} and 0 subfolders; provide {_FORMATS}"
    )
