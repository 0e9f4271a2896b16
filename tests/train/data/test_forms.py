"""The forms in which people keep data sets: each is read to the same images and labels."""

import contextlib
import gzip
import io
import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from runtime.errors import DatasetError
from train.data import load
from train.data.formats import find

pytest.importorskip("sklearn")
COUNT = 60  # images of six classes; the first 40 are training images if a form is divided


@pytest.fixture(scope="module")
def digits():
    """Return 60 different images of the digits 0 to 5, light on dark, and their labels."""
    embedded = load.sklearn_digits().train
    picked = np.concatenate([np.flatnonzero(embedded.labels == n)[:10] for n in range(6)])
    picked = picked.reshape(6, 10).T.reshape(-1)
    return embedded.pixels[picked, :, :, 0], embedded.labels[picked]


def _check(path: Path, digits, names="012345", divided=False) -> load.DataSet:
    """Assert that the images of a data set are those of `digits`, with their labels."""
    images, labels = digits
    read = load.load(path)
    assert read.labels == tuple(names)
    assert len(read.train) + len(read.test) == COUNT
    expected = {image.tobytes(): names[label] for image, label in zip(images, labels, strict=True)}
    for split in (read.train, read.test):
        for image, label in zip(split.pixels, split.labels, strict=True):
            assert expected[image.tobytes()] == read.labels[label]
    if divided:
        np.testing.assert_array_equal(read.train.pixels[..., 0], images[:40])
    return read


def _write_csv(path, images, labels, header=None, last=False, separator=","):
    rows = [] if header is None else [header]
    for image, label in zip(images, labels, strict=True):
        values = [str(n) for n in image.ravel()]
        rows.append([*values, str(label)] if last else [str(label), *values])
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as file:
        file.writelines(separator.join(row) + "\n" for row in rows)


def _idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def _write_idx(folder, images, labels, prefix="", test="t10k", suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for part, chosen in (("train", slice(40)), (test, slice(40, None))):
        _idx(folder / f"{prefix}{part}-images-idx3-ubyte{suffix}", images[chosen])
        _idx(folder / f"{prefix}{part}-labels-idx1-ubyte{suffix}", labels[chosen])


def _write_images(folder, images, labels, names=None):
    for n, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / (str(label) if names is None else names[label])
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path / f"{n}.png")


PIXEL_NAMES = [f"pixel{n}" for n in range(784)]

# --- CSV of pixels


@pytest.mark.parametrize("as_folder", [True, False])
def test_kaggles_train_csv_is_read_and_test_csv_without_labels_is_not(
    tmp_path, digits, as_folder, capsys
):
    _write_csv(tmp_path / "train.csv", *digits, ["label", *PIXEL_NAMES])
    rows = [PIXEL_NAMES, *([str(n) for n in image.ravel()] for image in digits[0][:3])]
    (tmp_path / "test.csv").write_text("\n".join(",".join(row) for row in rows))
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    _check(tmp_path if as_folder else tmp_path / "train.csv", digits)
    assert "test.csv: the images have no labels and are not used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "header", "last", "separator"),
    [
        ("letters.csv", None, False, ","),
        ("mnist_784.csv", [*PIXEL_NAMES, "class"], True, ","),
        ("excel.csv", ["label", *(f"{n % 28}x{n // 28}" for n in range(784))], False, ";"),
        ("packed.csv.gz", ["y", *PIXEL_NAMES], False, ","),
        ("tabs.tsv", ["Digit", *map(str, range(784))], False, "\t"),
        ("last.csv", None, True, ","),
    ],
)
def test_csv_of_pixels_is_read_in_its_usual_variants(
    tmp_path, digits, name, header, last, separator
):
    _write_csv(tmp_path / name, *digits, header, last, separator)
    _check(tmp_path / name, digits)


def test_csv_files_of_training_and_test_images_keep_their_division(tmp_path, digits):
    images, labels = digits
    _write_csv(tmp_path / "mnist_train.csv", images[:40], labels[:40], ["label", *PIXEL_NAMES])
    _write_csv(tmp_path / "mnist_test.csv", images[40:], labels[40:], ["label", *PIXEL_NAMES])
    _check(tmp_path, digits, divided=True)
    _check(tmp_path / "mnist_train.csv", digits, divided=True)


def test_csv_of_fractions_is_scaled(tmp_path, digits):
    images, labels = digits
    _write_csv(tmp_path / "scaled.csv", images / np.float32(255), labels)
    _check(tmp_path / "scaled.csv", digits)


def test_csv_of_names_has_these_classes(tmp_path, digits):
    images, labels = digits
    names = np.array(["zero", "one", "two", "three", "four", "five"])[labels]
    _write_csv(tmp_path / "names.csv", images, names, ["label", *PIXEL_NAMES])
    assert load.load(tmp_path / "names.csv").labels == tuple(sorted(set(names)))


WRONG_CSV = {
    "ragged": ("1," + ",".join("0" * 784) + "\n1," + ",".join("0" * 783) + "\n", "from line"),
    "too long row": ("1," + ",".join("0" * 784) + "\n1," + ",".join("0" * 785) + "\n", "cells"),
    "text": ("1," + ",".join(["0"] * 783 + ["a"]) + "\n", "numbers"),
    "empty cell": ("1," + ",".join(["0"] * 783 + [""]) + "\n", "numbers"),
    "not a number": ("1," + ",".join(["0"] * 783 + ["nan"]) + "\n", "NaN"),
    "not square": ("1," + ",".join("0" * 700) + "\n", "square"),
    "header only": ("label," + ",".join(PIXEL_NAMES) + "\n", "no rows"),
    "no labels": (",".join(PIXEL_NAMES) + "\n" + ",".join("0" * 784) + "\n", "no column label"),
    "two labels": ("a,b," + ",".join(PIXEL_NAMES) + "\n0,0," + ",".join("0" * 784), "ambiguous"),
    "NUL": ("1," + ",".join("0" * 784) + "\0\n", "NUL"),
    "a long line": ("1" * (1 << 22) + "," * 20, "characters"),
}


@pytest.mark.parametrize("wrong", WRONG_CSV)
def test_wrong_csv_is_rejected(tmp_path, wrong, rejected):
    text, words = WRONG_CSV[wrong]
    (tmp_path / "wrong.csv").write_text(text)
    rejected(tmp_path / "wrong.csv", "wrong.csv", words)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_csv_that_is_not_utf_8_is_rejected(tmp_path, encoding, rejected):
    (tmp_path / "excel.csv").write_bytes("é,1\n".encode(encoding))
    rejected(tmp_path / "excel.csv", "excel.csv", "UTF-8")


# --- labels beside images


def _write_table(path, rows):
    path.write_text("".join(",".join(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("header", "subfolder", "suffix"),
    [
        (["file", "label"], "", ".png"),
        (None, "", ".png"),
        (["image_id", "class"], "images", ""),
        (["filename", "Label"], "images", ".png"),
    ],
)
def test_labels_beside_images_are_read(tmp_path, digits, header, subfolder, suffix):
    rows = [] if header is None else [header]
    (tmp_path / subfolder).mkdir(exist_ok=True)
    for n, (image, label) in enumerate(zip(*digits, strict=True)):
        Image.fromarray(image).save(tmp_path / subfolder / f"{n}.png")
        rows.append([f"{n}{suffix}", str(label)])
    _write_table(tmp_path / "labels.csv", rows)
    _check(tmp_path, digits)
    _check(tmp_path / "labels.csv", digits)


@pytest.fixture
def flat(tmp_path, digits):
    """Return a folder of images named by their numbers."""
    for n, image in enumerate(digits[0]):
        Image.fromarray(image).save(tmp_path / f"{n}.png")
    return tmp_path


def test_tables_of_training_and_test_images_keep_their_division(flat, digits):
    rows = [[f"{n}.png", str(label)] for n, label in enumerate(digits[1])]
    _write_table(flat / "train.csv", [["image", "label"], *rows[:40]])
    _write_table(flat / "test.csv", [["image", "label"], *rows[40:]])
    _write_table(flat / "sample_submission.csv", [["image", "label"], ["41.png", "0"]])
    _check(flat, digits, divided=True)


def test_metadata_of_hugging_faces_image_folder_is_read(flat, digits):
    lines = [
        json.dumps({"file_name": f"{n}.png", "label": int(d)}) for n, d in enumerate(digits[1])
    ]
    (flat / "metadata.jsonl").write_text("\n".join(lines))
    _check(flat, digits)


def test_table_with_one_column_per_class_is_read(flat, digits):
    rows = [["filename", *"012345"]]
    rows += [
        [f"{n}.png", *("01"[int(k == label)] for k in range(6))]
        for n, label in enumerate(digits[1])
    ]
    _write_table(flat / "_classes.csv", rows)
    _check(flat, digits)


def test_missing_image_of_a_table_is_named(flat, digits, rejected):
    rows = [[f"{n}.png", str(label)] for n, label in enumerate(digits[1])]
    _write_table(flat / "labels.csv", [["file", "label"], *rows, ["gone.png", "1"]])
    rejected(flat, "gone.png", "1 of 61")


@pytest.mark.parametrize("outside", ["../secret.png", "/etc/secret.png", "C:\\secret.png"])
def test_image_outside_the_folder_of_its_table_is_not_read(flat, digits, outside, rejected):
    (flat.parent / "secret.png").write_bytes((flat / "0.png").read_bytes())
    rows = [[f"{n}.png", str(label)] for n, label in enumerate(digits[1])]
    _write_table(flat / "labels.csv", [["file", "label"], *rows, [outside, "1"]])
    rejected(flat, "secret.png", "not in")


def test_table_with_several_possible_labels_is_rejected(flat, digits, rejected):
    rows = [[f"{n}.png", str(label), "7"] for n, label in enumerate(digits[1])]
    _write_table(flat / "labels.csv", [["file", "a", "b"], *rows])
    rejected(flat, "ambiguous", "name it label")


def test_labels_at_the_beginning_of_file_names_are_read(tmp_path, digits, capsys):
    for n, (image, label) in enumerate(zip(*digits, strict=True)):
        Image.fromarray(image).save(tmp_path / f"{label}_{n:04}.png")
    _check(tmp_path, digits)
    assert "the labels are the beginnings of the file names" in capsys.readouterr().err


def test_camera_names_are_not_labels(flat, rejected):
    for path in flat.glob("*.png"):
        path.rename(flat / f"IMG_{path.name}")
    rejected(flat, "0 subfolders")


# --- EMNIST and torchvision


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("as_file", [True, False])
def test_emnist_is_turned_upright_and_its_letters_are_named(tmp_path, digits, suffix, as_file):
    images, labels = digits
    for split in ("letters", "balanced") if as_file else ("letters",):
        _write_idx(
            tmp_path, images.transpose(0, 2, 1), labels + 1, f"emnist-{split}-", "test", suffix
        )
    name = f"emnist-letters-train-images-idx3-ubyte{suffix}"
    read = _check(tmp_path / name if as_file else tmp_path, digits, "ABCDEF", divided=True)
    assert read.name == "emnist-letters"


def test_mapping_of_emnist_names_the_classes(tmp_path, digits):
    images, labels = digits
    _write_idx(tmp_path, images.transpose(0, 2, 1), labels, "emnist-bymerge-", "test")
    rows = "".join(f"{n} {ord('u') + n}\n" for n in range(6))
    (tmp_path / "emnist-bymerge-mapping.txt").write_text(rows)
    _check(tmp_path, digits, "uvwxyz", divided=True)


def test_several_splits_of_emnist_in_a_folder_are_listed(tmp_path, digits, rejected):
    for split in ("letters", "digits"):
        _write_idx(tmp_path, *digits, f"emnist-{split}-", "test")
    rejected(tmp_path, "2 data sets", "emnist-letters-", "pass one file")


def test_emnist_as_csv_is_turned_upright(tmp_path, digits):
    images, labels = digits
    _write_csv(
        tmp_path / "emnist-letters-train.csv", images[:40].transpose(0, 2, 1), labels[:40] + 1
    )
    _write_csv(
        tmp_path / "emnist-letters-test.csv", images[40:].transpose(0, 2, 1), labels[40:] + 1
    )
    _check(tmp_path, digits, "ABCDEF", divided=True)


def test_emnist_as_matlab_file_is_turned_upright(tmp_path, digits):
    from scipy.io import savemat

    images, labels = digits
    columns = images.transpose(0, 2, 1).reshape(COUNT, -1)  # MATLAB stores columns
    parts = {
        part: {"images": columns[chosen], "labels": labels[chosen, None] + 1}
        for part, chosen in (("train", slice(40)), ("test", slice(40, None)))
    }
    mapping = np.array([[n, 64 + n, 96 + n] for n in range(1, 27)])
    savemat(tmp_path / "emnist-letters.mat", {"dataset": {**parts, "mapping": mapping}})
    _check(tmp_path / "emnist-letters.mat", digits, "ABCDEF", divided=True)


@pytest.mark.parametrize("inner", ["MNIST/raw", "data/MNIST/raw", "archive/archive"])
def test_idx_files_in_inner_folders_are_found(tmp_path, digits, inner):
    _write_idx(tmp_path / inner, *digits)
    (tmp_path / "README.md").write_text("read me")
    _check(tmp_path, digits, divided=True)


def test_several_data_sets_of_torchvision_are_listed(tmp_path, digits, rejected):
    for name in ("MNIST", "FashionMNIST"):
        _write_idx(tmp_path / name / "raw", *digits)
    rejected(tmp_path, "several data sets", "MNIST/raw", "FashionMNIST/raw")


# --- arrays


@pytest.mark.parametrize(
    ("x", "y"),
    [("train_images", "train_labels"), ("X", "Y"), ("data", "target"), ("images", "labels")],
)
def test_arrays_of_other_names_are_read(tmp_path, digits, x, y):
    np.savez(tmp_path / "digits.npz", **{x: digits[0], y: digits[1]})
    _check(tmp_path / "digits.npz", digits)


@pytest.mark.parametrize("names", [("{}_images", "{}_labels"), ("X_{}", "y_{}"), ("{}X", "{}Y")])
def test_arrays_of_training_and_test_images_keep_their_division(tmp_path, digits, names):
    images, labels = digits
    arrays = {}
    for part, chosen in (("train", slice(40)), ("test", slice(40, None))):
        arrays[names[0].format(part)] = images[chosen]
        arrays[names[1].format(part)] = labels[chosen]
    np.savez(tmp_path / "digits.npz", **arrays)
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    _check(tmp_path / "digits.npz", digits, divided=True)
    (tmp_path / "digits.npz").unlink()
    _check(tmp_path, digits, divided=True)


LAYOUTS = {
    "flat": lambda x: x.reshape(len(x), -1),
    "channels last": lambda x: x[..., None],
    "channels first": lambda x: x[:, None],
    "from 0 to 1": lambda x: x / np.float32(255),
    "from -1 to 1": lambda x: x / np.float32(127.5) - 1,
    "float64": lambda x: x.astype(np.float64),
    "int64": lambda x: x.astype(np.int64),
    "16 bits": lambda x: x.astype(np.uint16) * 257,
    "images on the last axis": lambda x: np.moveaxis(x, 0, -1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_other_layouts_are_read(tmp_path, digits, layout):
    np.savez(tmp_path / "digits.npz", x=LAYOUTS[layout](digits[0]), y=digits[1])
    _check(tmp_path / "digits.npz", digits)


@pytest.mark.parametrize(
    "labels", [lambda y: y[:, None], lambda y: np.eye(6)[y], lambda y: y.astype(float)]
)
def test_labels_of_other_layouts_are_read(tmp_path, digits, labels):
    np.savez(tmp_path / "digits.npz", x=digits[0], y=labels(digits[1]))
    _check(tmp_path / "digits.npz", digits)


def test_one_array_per_class_is_read(tmp_path, digits):
    for name, n in (("cat", 0), ("dog", 1)):
        np.save(tmp_path / f"{name}.npy", digits[0][digits[1] == n].reshape(-1, 784))
    read = load.load(tmp_path)
    assert read.labels == ("cat", "dog")
    assert len(read.train) + len(read.test) == 20


def test_svhns_matlab_files_are_read(tmp_path, digits):
    from scipy.io import savemat

    images, labels = digits
    colored = np.repeat(images[..., None], 3, axis=3)
    for part, chosen in (("train", slice(40)), ("test", slice(40, None))):
        values = {
            "X": np.moveaxis(colored[chosen], 0, -1),
            "y": np.where(labels[chosen] == 0, 10, labels[chosen])[:, None],
        }
        savemat(tmp_path / f"{part}_32x32.mat", values)
    read = load.load(tmp_path)
    assert read.labels == tuple("012345")
    assert (len(read.train), len(read.test)) == (40, 20)


# --- Parquet


def _write_parquet(path, images, labels, names=None, binary=False):
    encoded = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        encoded.append(buffer.getvalue() if binary else {"bytes": buffer.getvalue(), "path": None})
    table = pyarrow.table({"image": encoded, "label": labels})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        content = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({b"huggingface": content.encode()})
    path.parent.mkdir(exist_ok=True, parents=True)
    pyarrow.parquet.write_table(table, path)


@pytest.mark.parametrize("inner", ["", "mnist", "data"])
def test_parquet_of_hugging_face_is_read(tmp_path, digits, inner):
    images, labels = digits
    names = [f"{n} - {word}" for n, word in enumerate("uvwxyz")]
    for part, chosen in (("train", slice(40)), ("test", slice(40, None))):
        path = tmp_path / inner / f"{part}-00000-of-00001.parquet"
        _write_parquet(path, images[chosen], labels[chosen], names)
    _check(tmp_path, digits, names, divided=True)
    _check(tmp_path / inner / "train-00000-of-00001.parquet", digits, names, divided=True)


def test_parquet_of_binary_values_and_names_is_read(tmp_path, digits):
    images, labels = digits
    _write_parquet(tmp_path / "all.parquet", images, [str(n) for n in labels], binary=True)
    _check(tmp_path / "all.parquet", digits)


def test_parquet_without_images_is_rejected(tmp_path, rejected):
    pyarrow.parquet.write_table(pyarrow.table({"a": [1.5], "b": ["x"]}), tmp_path / "t.parquet")
    rejected(tmp_path / "t.parquet", "t.parquet", "column image")


def test_damaged_parquet_is_rejected(tmp_path, digits, rejected):
    path = tmp_path / "cut.parquet"
    _write_parquet(path, *digits)
    path.write_bytes(path.read_bytes()[:-30])
    rejected(path, "cut.parquet", "damaged")


# --- folders of images


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training", "Testing"),
        ("trainingSet", "testSet"),
        ("train_set", "test_set"),
        ("MNIST - JPG - training", "MNIST - JPG - testing"),
        ("trainingSet/trainingSet", "testSet/testSet"),
    ],
)
def test_folders_with_names_of_parts_are_a_division(tmp_path, digits, train, test):
    images, labels = digits
    _write_images(tmp_path / "outer" / train, images[:40], labels[:40])
    _write_images(tmp_path / "outer" / test, images[40:], labels[40:])
    read = _check(tmp_path, digits)
    assert (len(read.train), len(read.test)) == (40, 20)


def test_test_folder_without_labels_is_not_used(tmp_path, digits, capsys):
    _write_images(tmp_path / "trainingSet", *digits)
    (tmp_path / "testSet").mkdir()
    Image.fromarray(digits[0][0]).save(tmp_path / "testSet" / "img_1.jpg")
    _check(tmp_path, digits)
    assert "testSet: the images have no labels and are not used" in capsys.readouterr().err


def test_folders_of_writers_are_not_classes(tmp_path, digits, capsys):
    images, labels = digits
    for n, writer in enumerate(("anna", "bert", "carl")):
        _write_images(tmp_path / writer, images[20 * n :][:20], labels[20 * n :][:20])
    _check(tmp_path, digits)
    assert "anna, bert, carl" in capsys.readouterr().err


def test_ambiguous_levels_of_folders_are_rejected(tmp_path, digits, rejected):
    images, labels = digits
    for n, name in enumerate(("apple", "pear")):
        chosen = slice(30 * n, 30 * n + 30)
        _write_images(tmp_path / name, images[chosen], labels[chosen] % 2, ("fresh", "rotten"))
    rejected(tmp_path, "apple, pear", "fresh, rotten", "same subfolders")


def test_kinds_of_a_character_are_joined(tmp_path, digits):
    images, labels = digits
    for n in range(6):
        chosen = labels == n
        _write_images(tmp_path / str(n), images[chosen], np.arange(10) % 2, ("print", "script"))
    _check(tmp_path, digits)


def test_loop_of_links_is_read(tmp_path, digits):
    _write_images(tmp_path, *digits)
    os.symlink(tmp_path, tmp_path / "0" / "loop")
    assert load.load(tmp_path).labels == tuple("012345")


# --- archives


def test_zip_of_folders_is_read(tmp_path, digits):
    _write_images(tmp_path / "letters", *digits)
    with zipfile.ZipFile(tmp_path / "digits.zip", "w") as archive:
        for path in sorted((tmp_path / "letters").rglob("*.png")):
            archive.write(path, Path("outer") / path.relative_to(tmp_path / "letters"))
        archive.writestr("__MACOSX/outer/._0", b"\0")
    _check(tmp_path / "digits.zip", digits)


def test_zip_of_a_csv_is_read(tmp_path, digits):
    _write_csv(tmp_path / "train.csv", *digits, ["label", *PIXEL_NAMES])
    with zipfile.ZipFile(tmp_path / "digit-recognizer.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "train.csv", "train.csv")
    _check(tmp_path / "digit-recognizer.zip", digits)


@pytest.mark.parametrize("name", ["../up.png", "/etc/up.png", "C:up.png", "a\\..\\up.png"])
def test_zip_with_paths_outside_is_rejected(tmp_path, name, rejected):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(name, b"x")
    rejected(tmp_path / "evil.zip", "evil.zip", "leaves the folder")


def test_zip_with_a_link_is_rejected(tmp_path, rejected):
    link = zipfile.ZipInfo("a/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    rejected(tmp_path / "evil.zip", "link")


def test_zip_that_declares_too_much_is_rejected(tmp_path, rejected):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1000))
    content = path.read_bytes()
    size = struct.pack("<I", 1000)
    path.write_bytes(content.replace(size, b"\xff\xff\xff\x7f"))
    rejected(path, "bomb.zip")


# --- other formats

UNREAD = {
    "digits.pkl": (pickle.dumps([1]), "any program"),
    "model.pt": (b"PK", "any program"),
    "digits.h5": (b"\x89HDF", "savez_compressed"),
    "digits.tar.gz": (b"\x1f\x8b", "unpack it"),
    "digits.xlsx": (b"PK", "CSV UTF-8"),
    "coco.json": (b"{}", "labels.csv"),
    "one.png": (b"\x89PNG", "one image"),
    "notes.txt": (b"hello", "not a data set"),
    "v73.mat": (b"MATLAB 7.3 MAT-file" + bytes(200), "-v7"),
    "damaged.mat": (b"MATLAB 5.0 MAT-file" + bytes(500), "damaged"),
    "damaged.npy": (b"\x93NUMPY\x01\x00\xff", "x_train"),
    "damaged.zip": (b"PK\x03\x04", "damaged"),
    "damaged.parquet": (b"PAR1", "damaged"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_other_formats_are_rejected_with_a_remedy(tmp_path, name, rejected):
    content, words = UNREAD[name]
    (tmp_path / name).write_bytes(content)
    rejected(tmp_path / name, words)


def test_folder_of_other_files_is_rejected_with_its_contents(tmp_path, rejected):
    (tmp_path / "a.pdf").write_bytes(b"x")
    rejected(tmp_path, "1 .pdf", "0 subfolders")


def test_folder_of_an_unread_format_names_it(tmp_path, rejected):
    (tmp_path / "mnist.pkl.gz").write_bytes(b"x")
    rejected(tmp_path, "mnist.pkl.gz", "any program")


# --- colors, odd values and damaged files


def test_colors_survive_reading(tmp_path):
    random = np.random.default_rng(0)
    colored = random.integers(0, 256, (20, 12, 9, 3), np.uint8)
    np.savez(tmp_path / "colored.npz", x=colored, y=np.arange(20) % 2)
    np.testing.assert_array_equal(find.read(tmp_path / "colored.npz").train.images, colored)
    transparent = random.integers(0, 256, (20, 12, 9, 4), np.uint8)
    np.savez(tmp_path / "rgba.npz", x=transparent.transpose(0, 3, 1, 2)[:, :3], y=np.arange(20) % 2)
    np.testing.assert_array_equal(
        find.read(tmp_path / "rgba.npz").train.images, transparent[..., :3]
    )
    square = random.integers(0, 256, (20, 8, 8, 3), np.uint8)
    _write_csv(tmp_path / "rgb.csv", square, np.arange(20) % 2)
    np.testing.assert_array_equal(find.read(tmp_path / "rgb.csv").train.images, square)


def test_labels_that_are_not_whole_numbers_are_names(tmp_path, digits):
    images, labels = digits
    for name, names in (
        ("a.csv", ["NaN", *"12345"]),
        ("b.csv", ["0.0", *(f"{n}.5" for n in range(5))]),
    ):
        _write_csv(tmp_path / name, images, np.array(names)[labels])
        assert set(load.load(tmp_path / name).labels) == set(names)


def test_constant_floats_are_blank(tmp_path, rejected):
    np.savez(tmp_path / "c.npz", x=np.full((20, 28, 28), -5.0), y=np.arange(20) % 2)
    rejected(tmp_path / "c.npz", "too few different")


@pytest.mark.parametrize(("package", "name"), [("pyarrow", "a.parquet"), ("scipy.io", "a.mat")])
def test_missing_package_is_named(tmp_path, monkeypatch, package, name, rejected):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).write_bytes(bytes(1000))
    rejected(tmp_path / name, name, "pip install")


def test_parquet_that_repeats_a_large_value_is_rejected(tmp_path, monkeypatch, rejected):
    """A value of a dictionary is stored once, and takes its size in memory in every row."""
    monkeypatch.setattr("train.data.formats.parquet.MAX_BYTES", 5_000_000)
    table = pyarrow.table({"image": [bytes(100_000)] * 1000, "label": [0, 1] * 500})
    pyarrow.parquet.write_table(table, tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 200_000
    rejected(tmp_path / "bomb.parquet", "bomb.parquet", "divide")


@pytest.fixture(scope="module")
def all_forms(tmp_path_factory, digits):
    """Return a folder with a file of each form, and the files."""
    from scipy.io import savemat

    folder = tmp_path_factory.mktemp("forms")
    images, labels = digits
    (folder / "csv").mkdir()
    _write_csv(
        folder / "csv/pixels.csv", images[:, ::2, ::2], labels, ["label", *PIXEL_NAMES[:196]]
    )
    _write_idx(folder / "idx", images, labels)
    for name in ("npz", "npy", "mat", "zip", "table"):
        (folder / name).mkdir()
    np.savez_compressed(folder / "npz/d.npz", x=images, y=labels)
    np.save(folder / "npy/x.npy", images)
    np.save(folder / "npy/y.npy", labels)
    savemat(folder / "mat/d.mat", {"X": images, "y": labels}, do_compression=True)
    _write_parquet(folder / "parquet/d.parquet", images, labels, list("012345"))
    with zipfile.ZipFile(folder / "zip/d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "csv/pixels.csv", "pixels.csv")
    rows = [[f"{n}.png", str(label)] for n, label in enumerate(labels)]
    for n, image in enumerate(images):
        Image.fromarray(image).save(folder / "table" / f"{n}.png")
    _write_table(folder / "table/labels.csv", [["file", "label"], *rows])
    return [
        folder / name
        for name in (
            "csv/pixels.csv", "idx/train-images-idx3-ubyte.gz", "idx/t10k-labels-idx1-ubyte.gz",
            "npz/d.npz", "npy/x.npy", "mat/d.mat", "parquet/d.parquet", "zip/d.zip",
            "table/labels.csv",
        )
    ]  # fmt: skip


MUTATIONS = 8  # of each file


def test_mutated_files_are_read_or_rejected(all_forms, capsys):
    random = np.random.default_rng(26)
    for path in all_forms:
        original = path.read_bytes()
        assert load.load(path).labels == tuple("012345")
        for _ in range(MUTATIONS):
            content = bytearray(original)
            for _ in range(int(random.integers(1, 6))):
                place = int(random.integers(len(content)))
                kind = random.integers(4)
                if kind == 0:
                    content[place] = int(random.integers(256))
                elif kind == 1:
                    del content[place:]
                elif kind == 2:
                    content[place : place + 8] = random.bytes(8)
                else:
                    content[place:place] = content[: int(random.integers(100))]
                if not content:
                    break
            path.write_bytes(content)
            with contextlib.suppress(DatasetError):
                load.load(path)
        path.write_bytes(original)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "\n\n", "a,b\n", "file,label\n", "just text\n"])
def test_table_without_images_is_rejected(tmp_path, text, rejected):
    (tmp_path / "labels.csv").write_text(text)
    rejected(tmp_path / "labels.csv", "labels.csv", "no column names images")


def test_words_before_a_dot_are_labels(tmp_path, digits):
    for n, image in enumerate(digits[0][:40]):
        Image.fromarray(image).save(tmp_path / f"{('cat', 'dog')[n % 2]}.{n}.png")
    assert load.load(tmp_path).labels == ("cat", "dog")


def test_table_of_predictions_does_not_replace_folders_of_classes(tmp_path, digits, rejected):
    _write_images(tmp_path, *digits)
    files = sorted(tmp_path.rglob("*.png"))
    rows = [[str(f.relative_to(tmp_path)), f.parent.name] for f in files]
    _write_table(tmp_path / "labels.csv", [["file", "label"], *rows])
    _check(tmp_path, digits)
    rows[0][1] = "5"
    _write_table(tmp_path / "labels.csv", [["file", "label"], *rows])
    rejected(tmp_path, "1 of 60 labels differ from the folder", "remove the table")


def test_all_files_of_a_divided_parquet_are_read(tmp_path, digits):
    images, labels = digits
    for n in range(3):
        _write_parquet(
            tmp_path / f"train-0000{n}-of-00003.parquet", images[n::3], labels[n::3], list("012345")
        )
    _check(tmp_path / "train-00001-of-00003.parquet", digits)


def test_table_of_features_is_not_a_table_of_pixels(tmp_path, rejected):
    rows = [["letter", *(f"x{n}" for n in range(16))], *([["A"] + ["3"] * 16] * 20)]
    _write_table(tmp_path / "letter-recognition.csv", rows)
    rejected(tmp_path / "letter-recognition.csv", "no column names images")
