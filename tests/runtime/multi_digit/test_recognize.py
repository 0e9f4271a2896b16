"""Recognition of numbers on generated pages: touching, slanting, on ruled paper, in shadow."""

import functools
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

from runtime import visualize
from runtime.classifier import Classifier
from runtime.errors import ImageError
from runtime.multi_digit import layout
from runtime.multi_digit.layout import InkComponent
from runtime.multi_digit.recognize import (
    UNKNOWN,
    Digit,
    Recognition,
    estimate_page_memory,
    find_views,
    recognize,
)
from runtime.multi_digit.split_touching import split_at_seams
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder
from train.data.load import sklearn_digits

pytestmark = pytest.mark.portable

Array = np.ndarray[Any, np.dtype[Any]]
HEIGHT = 64
CLASSIFIER = Classifier.load()


@functools.cache
def glyphs() -> list[tuple[int, Array]]:
    """Digits of scikit-learn drawn with an even pen stroke, if the model classifies them well."""
    digits = load_digits()
    accepted = []
    for label, digit in zip(digits.target[:300], digits.images[:300], strict=True):
        image = Image.fromarray(digit.astype(np.float32)).resize(
            (HEIGHT, HEIGHT), Image.Resampling.BICUBIC
        )
        ink = np.clip((np.asarray(image) - 6) / 2 + 0.5, 0, 1)
        rows, columns = (np.flatnonzero((ink > 0.1).any(axis=axis)) for axis in (1, 0))
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        alone = CLASSIFIER.classify(paper(np.pad(ink, 40)))
        if alone.label == str(label) and alone.confidence > 0.95 and alone.accepted:
            accepted.append((int(label), ink))
    return accepted


def paper(ink: Array, noise: float = 3.0) -> Array:
    """Draw ink, 0 to 1, on noisy, unevenly lit paper: uint8."""
    y, x = np.mgrid[0 : 1 : ink.shape[0] * 1j, 0 : 1 : ink.shape[1] * 1j]
    gray = 220 * (1 - 0.75 * ink) * (1 - 0.3 * x - 0.1 * y)
    gray += np.random.default_rng(0).normal(0, noise, ink.shape)
    return np.clip(np.rint(gray), 0, 255).astype(np.uint8)


def page(
    seed: int, lines: int = 1, *, count: int = 6, gap: float = 0.4, slope: float = 0.0
) -> tuple[Array, tuple[str, ...]]:
    """Return the ink of some lines of digits, and their text; `gap` is in digit heights."""
    random = np.random.default_rng(seed)
    width = int(HEIGHT * (count * (1 + max(gap, 0)) + 2))
    ink = np.zeros((int(HEIGHT * (2 * lines + 1.5) + abs(slope) * width), width), np.float32)
    text = []
    for line in range(lines):
        left, labels = HEIGHT // 2, ""
        for _ in range(count):
            label, digit = glyphs()[random.integers(len(glyphs()))]
            down = slope * left + max(0, -slope) * width + HEIGHT * (0.5 + 2 * line)
            top = int(down) + (HEIGHT - digit.shape[0]) // 2
            part = ink[top : top + digit.shape[0], left : left + digit.shape[1]]
            np.maximum(part, digit, out=part)
            left += digit.shape[1] + round(gap * HEIGHT)
            labels += str(label)
        text.append(labels)
    return ink, tuple(text)


def png(gray: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "PNG")
    return file.getvalue()


def line_accuracy(pages: list[tuple[Array, tuple[str, ...]]]) -> float:
    """Return the share of lines that are read without an error."""
    correct = total = 0
    for gray, text in pages:
        lines = CLASSIFIER.read(gray).lines
        assert len(lines) == len(text), (lines, text)
        correct += sum(line == expected for line, expected in zip(lines, text, strict=True))
        total += len(text)
    return correct / total


def test_glyphs_contain_all_ten_digits() -> None:
    assert {label for label, _ in glyphs()} == set(range(10))


@pytest.mark.parametrize("slope", [-0.2, 0.0, 0.15])
def test_slanting_lines_are_read_in_order(slope: float) -> None:
    pages = [page(seed, 3, slope=slope) for seed in range(4)]
    assert line_accuracy([(paper(ink), text) for ink, text in pages]) >= 0.9


def test_touching_digits_are_split() -> None:
    pages = [page(seed, count=2, gap=-0.02) for seed in range(20)]
    assert line_accuracy([(paper(ink), text) for ink, text in pages]) >= 0.8


def test_ruled_lines_specks_and_shadows_are_ignored() -> None:
    pages = []
    for seed in range(1, 6):
        ink, text = page(seed, 2)
        random = np.random.default_rng(seed)
        ruled = ink.copy()
        ruled[30::90] = ruled[31::90] = 0.5
        for top, left in zip(*random.integers(0, ink.shape[0] - 4, (2, 12)), strict=True):
            ruled[top : top + 3, left : left + 3] = 0.8
        pages.append((paper(ruled), text))
        gray = paper(np.pad(ink, ((0, 160), (0, 0))))
        gray[-120:] //= 4
        pages.append((gray, text))
    # Not 1: a ruled line may go through a digit.
    assert line_accuracy(pages) >= 0.85


def test_aligned_tops_of_printed_digits_are_not_removed_as_a_ruled_line() -> None:
    text = ["".join(map(str, row)) for row in np.random.default_rng(0).integers(0, 10, (20, 30))]
    sheet = Image.new("L", (80 + 30 * 34, 80 + 20 * 60), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(40)
    for row, digits in enumerate(text):
        for column, digit in enumerate(digits):
            draw.text((40 + 34 * column, 40 + 60 * row), digit, font=font, fill=0)
    lines = CLASSIFIER.read(sheet).lines
    assert [len(line) for line in lines] == [30] * 20
    pairs = zip("".join(lines), "".join(text), strict=True)
    assert sum(label == expected for label, expected in pairs) >= 0.85 * 600


def test_pencil_next_to_marker_is_read() -> None:
    ink, text = page(3, 2)
    middle = int(2.25 * HEIGHT)
    ink[middle:] *= 0.35
    assert CLASSIFIER.read(paper(ink)).lines == text


def test_small_digits_on_a_large_page_are_read_at_high_resolution() -> None:
    ink, text = page(4)
    large = np.zeros((2400, 3200), np.float32)
    large[900 : 900 + ink.shape[0], 1200 : 1200 + ink.shape[1]] = ink
    gray = paper(large)
    reading = CLASSIFIER.read(png(gray))
    assert reading.lines == text
    left, top, right, bottom = reading.digits[0].box
    assert 1200 <= left < right < 1200 + 2 * HEIGHT + 16
    assert 900 <= top < bottom <= 900 + ink.shape[0]


def reduced(ink: Array, height: int) -> Array:
    """Reduce ink, so that its digits are `height` tall."""
    size = (ink.shape[1] * height // HEIGHT, ink.shape[0] * height // HEIGHT)
    return np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BOX))


def test_large_digits_are_read_from_a_small_copy() -> None:
    """Of pixels that no digit needs, only the time would remain."""
    ink, text = page(4)
    gray = Image.fromarray(paper(ink)).resize((2400, 896), Image.Resampling.BICUBIC)
    (view,) = find_views(CachedDecoder(np.asarray(gray)))
    assert max(view.decoded.gray.shape) == 512
    assert CLASSIFIER.read(gray).lines == text


def test_small_digits_below_a_title_are_not_lost() -> None:
    """In a small copy, only the title is large enough."""
    title, small = page(6), page(5, lines=2, count=8)
    large = np.zeros((1536, 2048), np.float32)
    for ink, top in ((reduced(title[0], 100), 60), (reduced(small[0], 28), 600)):
        large[top : top + ink.shape[0], 200 : 200 + ink.shape[1]] = ink
    assert CLASSIFIER.read(paper(large)).lines == (*title[1], *small[1])


def test_small_digits_beside_a_desk_are_not_lost() -> None:
    """In a small copy, the desk is the only ink."""
    ink = reduced(page(7, lines=5, count=8)[0], 11)
    gray = np.random.default_rng(0).normal(225, 3, (1800, 2400))
    gray[:180] = gray[:, :240] = 80
    gray[400 : 400 + ink.shape[0], 800 : 800 + ink.shape[1]] -= 190 * ink
    reading = CLASSIFIER.read(np.clip(gray, 0, 255).astype(np.uint8))
    assert len(reading.lines) >= 5


def test_ink_that_is_not_a_digit_is_omitted_or_kept_as_unknown() -> None:
    ink, (text,) = page(5, count=4)
    block = np.zeros((ink.shape[0], HEIGHT * 2), np.float32)
    block[32 : 32 + HEIGHT, 20 : 20 + HEIGHT] = 1
    gray = paper(np.concatenate([ink, block], axis=1))
    reading = CLASSIFIER.read(gray, keep_unknown=False)
    assert reading.text == text
    assert [digit.prediction.accepted for digit in reading.digits] == [True] * 4 + [False]
    assert [digit.order for digit in reading.digits] == list(range(5))
    assert reading.unknown == 1
    assert CLASSIFIER.read(gray).text == text + UNKNOWN


def test_omitting_unknown_places_does_not_change_how_a_page_is_read() -> None:
    """A digit beside a blot is the same digit whether the blot is shown or not."""
    ink, (text,) = page(5, count=1)
    blot = np.zeros((ink.shape[0], HEIGHT * 2), np.float32)
    blot[32 : 32 + HEIGHT, 20 : 20 + HEIGHT] = 1
    gray = paper(np.concatenate([ink, blot], axis=1))
    shown, omitted = CLASSIFIER.read(gray), CLASSIFIER.read(gray, keep_unknown=False)
    assert shown.text == text + UNKNOWN
    assert omitted.text == text
    assert [digit.box for digit in omitted.digits] == [digit.box for digit in shown.digits]
    assert omitted.confidences == shown.confidences


def test_line_of_unknown_places_is_omitted_with_them() -> None:
    digits = tuple(
        Digit((0, 0, 1, 1), Prediction(label, 0.5, np.zeros(10, np.float32), accepted), line, n)
        for n, (label, accepted, line) in enumerate([("4", False, 0), ("2", True, 1)])
    )
    recognition = Recognition((UNKNOWN, "2"), digits, (0.1, 0.9)).without_unknown()
    assert (recognition.lines, recognition.confidences) == (("2",), (0.9,))
    assert [digit.line for digit in recognition.digits] == [None, 0]


@pytest.mark.parametrize("noise", [0, 6])
def test_blank_page_has_no_lines_and_digits(noise: float) -> None:
    reading = CLASSIFIER.read(paper(np.zeros((300, 400)), noise))
    assert (reading.text, reading.lines, reading.digits) == ("", (), ())


def test_boxes_refer_to_the_upright_original() -> None:
    ink, text = page(6)
    gray = paper(ink)
    rotated = Image.fromarray(gray).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    rotated.save(file, "PNG", exif=exif)
    upright, stored = CLASSIFIER.read(gray), CLASSIFIER.read(file.getvalue())
    assert upright.lines == stored.lines == text
    assert [digit.box for digit in upright.digits] == [digit.box for digit in stored.digits]


def test_data_that_is_not_an_image_is_rejected() -> None:
    with pytest.raises(ImageError, match="not an image"):
        CLASSIFIER.read(b"this is not an image")


def test_visualization_draws_the_box_of_each_digit() -> None:
    ink, _ = page(7)
    gray = paper(ink)
    reading = CLASSIFIER.read(gray)
    picture = np.asarray(visualize.draw_recognition(gray, reading))
    scale = picture.shape[1] / gray.shape[1]
    for digit in reading.digits:
        left, top, _, bottom = digit.box
        red, green, _ = picture[int((top + bottom) / 2 * scale), round(left * scale)]
        assert green > red + 60


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runtime.read", *map(str, arguments)], capture_output=True, text=True
    )


def test_command_prints_the_text_and_saves_the_visualization(tmp_path) -> None:
    ink, text = page(8, 2)
    path, drawn = tmp_path / "numbers.png", tmp_path / "drawn.png"
    path.write_bytes(png(paper(ink)))
    done = run(path, "--show", drawn)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{path}: {line}" for line in text]
    with Image.open(drawn) as picture:
        assert picture.format == "PNG"


def test_command_prints_a_json_line_for_each_image_and_each_error(tmp_path) -> None:
    ink, text = page(8, 2)
    path, absent = tmp_path / "numbers.png", tmp_path / "absent.png"
    path.write_bytes(png(paper(ink)))
    done = run(path, absent, "--json")
    assert (done.returncode, done.stderr) == (2, "")
    success, failure = map(json.loads, done.stdout.splitlines())
    assert (success["lines"], len(success["digits"])) == (list(text), 12)
    assert set(success["digits"][0]) == {"order", "line", "box", "label", "confidence", "accepted"}
    assert str(absent) in failure["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.png"], "error: absent.png: no such file"),
        (["a.png", "b.png", "--show", "c.png"], "usage"),
        ([], "usage"),
    ],
)
def test_invalid_usage_is_one_message_and_exit_status_2(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["photo.jpg", "scan.png", "screen.png"])
def test_photograph_of_one_digit_is_read(name: str) -> None:
    path = Path(__file__).parents[3] / "examples" / name
    classifier = Classifier.load()
    expected = classifier.classify(path, return_view=True)
    for image in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        reading = classifier.read(image)
        assert reading.text == expected.label
        assert len(reading.digits) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_image_from_a_named_pipe_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    photo = (Path(__file__).parents[3] / "examples" / "photo.jpg").read_bytes()
    for predict in (lambda: CLASSIFIER.read(pipe).text, lambda: CLASSIFIER.classify(pipe).label):
        writer = threading.Thread(target=pipe.write_bytes, args=(photo,))
        writer.start()
        assert predict() == "7"
        writer.join()


def test_page_full_of_digits_is_not_rejected() -> None:
    digits = sklearn_digits().train
    random = np.random.default_rng(0)
    ink = np.zeros((30 * 44 + 80, 35 * 24 + 80), np.uint8)
    for number, pixels in enumerate(digits.pixels[: 30 * 35, :, :, 0]):
        row, column = divmod(number, 35)
        top, left = 40 + 44 * row + random.integers(-3, 4), 40 + 24 * column
        place = ink[top : top + 28, left : left + 28]
        np.maximum(place, pixels, out=place)
    height, width = ink.shape
    shown = Image.fromarray(255 - ink).resize((2 * width, 2 * height))
    assert len(CLASSIFIER.read(shown).digits) > 450


def test_page_of_dashes_is_rejected() -> None:
    random = np.random.default_rng(1)
    gray = np.full((1100, 1100), 255, np.uint8)
    for row in range(8, 1084, 16):
        for column in range(2, 1096, 10):
            if random.random() < 0.9:
                gray[row : row + 8, column : column + 2] = random.integers(0, 40)
    with pytest.raises(ImageError, match="more pieces of ink than a page of digits; crop it"):
        CLASSIFIER.read(gray)


def test_page_of_2000_digits_is_read() -> None:
    random = np.random.default_rng(0)
    sheet = np.full((50 * 56 + 56, 40 * 40 + 40), 230, np.uint8)
    for row in range(50):
        for column in range(40):
            ink = glyphs()[random.integers(len(glyphs()))][1]
            digit = Image.fromarray((230 - 200 * ink).astype(np.uint8)).reduce(2)
            y, x = 40 + row * 56, 30 + column * 40
            sheet[y : y + digit.height, x : x + digit.width] = np.asarray(digit)
    reading = CLASSIFIER.read(sheet)
    assert len(reading.lines) == 50
    assert sum(map(len, reading.lines)) > 1990


def test_page_with_too_many_components_is_rejected_within_a_second() -> None:
    sheet = np.full((3000, 3000), 255, np.uint8)
    for y in range(56, 2950, 56):
        for x in range(56, 2950, 56):
            sheet[y : y + 20, x : x + 20] = 0
    started = time.process_time()
    with pytest.raises(ImageError, match="more pieces of ink than a page of digits; crop it"):
        CLASSIFIER.read(sheet)
    assert time.process_time() - started < 1


def test_sweep_and_prune_finds_the_same_pairs_as_comparing_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.multi_digit.layout._PAIRS_PER_BATCH", 500)
    random = np.random.default_rng(0)
    height = 20.0
    for shape in ((200, 200), (60, 900), (900, 60)):
        corners = random.integers(0, shape, (70, 2))
        boxes = np.concatenate((corners, corners + random.integers(2, 30, (70, 2))), axis=1)
        expected = []
        for i, first in enumerate(boxes):
            for j, second in enumerate(boxes):
                near_x, near_y = np.maximum(first[:2], second[:2])
                far_x, far_y = np.minimum(first[2:], second[2:])
                min_width, min_height = np.minimum(first[2:] - first[:2], second[2:] - second[:2])
                overlap = far_x - near_x
                small_and_near = (
                    overlap > -0.1 * height and min_width * min_height < 0.2 * height**2
                )
                joined_height = max(first[3], second[3]) - min(first[1], second[1])
                if (
                    i != j
                    and min_height < 0.6 * height
                    and (overlap > 0.5 * min_width or small_and_near)
                    and near_y - far_y < 0.25 * height
                    and joined_height < 1.8 * height
                ):
                    expected.append([i, j])
        assert list(layout._joined(boxes, height)) == expected
        assert expected


def test_components_split_together_give_the_same_pieces_as_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.multi_digit.split_touching._MAX_STACKED_PIXELS", 20_000)
    random = np.random.default_rng(0)
    components = []
    for number in range(20):
        height, width = random.integers(8, 60, 2).tolist()
        ink = np.where(random.random((height, width)) < 0.4, 0, random.random((height, width)))
        components.append(InkComponent(ink.astype(np.float32), (number, 0, number + width, height)))
    together = split_at_seams(components, 40)
    assert max(map(len, together)) > 3
    for component, pieces in zip(components, together, strict=True):
        (alone,) = split_at_seams([component], 40)
        assert [(piece.box, ink) for piece, ink in pieces] == [
            (piece.box, ink) for piece, ink in alone
        ]


def test_page_with_too_many_joins_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ink, _ = page(3, 4)
    recognize(paper(ink), CLASSIFIER._predict_components)
    monkeypatch.setattr("runtime.multi_digit.recognize._MAX_JOINS", 20)
    with pytest.raises(ImageError, match="<array>: more pieces of ink than a page of digits"):
        recognize(paper(ink), CLASSIFIER._predict_components)


def test_line_whose_joins_take_too_much_memory_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ink, _ = page(3, 1)
    monkeypatch.setattr("runtime.multi_digit.recognize._MAX_JOINED_PIXELS", 10_000)
    with pytest.raises(ImageError, match="<array>: more pieces of ink than a page of digits"):
        recognize(paper(ink), CLASSIFIER._predict_components)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc of Linux")
@pytest.mark.parametrize("size", [(365, 273), (1154, 866), (2290, 1720), (4000, 3000)])
def test_reading_a_sheet_on_a_desk_takes_at_most_the_estimated_memory(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """A picture of up to 4 megapixels is looked at in all views; a larger one in one view."""
    ink, _ = page(3, 4)
    width, height = size
    desk = np.full((height, width), 70, np.uint8)
    sheet = desk[height // 8 : -height // 8, width // 8 : -width // 8]
    sheet[:] = 220
    digits = Image.fromarray(paper(ink))
    digits.thumbnail((sheet.shape[1] // 2, sheet.shape[0] // 2))
    sheet[20 : 20 + digits.height, 20 : 20 + digits.width] = np.asarray(digits)
    Image.fromarray(desk).save(tmp_path / "page.png")
    script = (
        "import sys\nfrom runtime import Classifier\n"
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "classifier = Classifier.load()\nclassifier.read(sys.argv[1])\nbefore = peak()\n"
        "assert classifier.read(sys.argv[2]).lines\nprint(peak() - before)\n"
    )
    Image.fromarray(paper(page(3)[0])).save(tmp_path / "small.png")
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "small.png", tmp_path / "page.png"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) << 10 < estimate_page_memory(size)
