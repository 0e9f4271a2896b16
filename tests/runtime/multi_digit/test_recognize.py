"""Numbers of several digits, on pages that the tests draw: touching, slanting, ruled, shadowed."""

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
from runtime.multi_digit.recognize import UNKNOWN, estimate_page_memory
from runtime.multi_digit.split_touching import split_at_seams
from train.data.load import sklearn_digits

Array = np.ndarray[Any, np.dtype[Any]]
HEIGHT = 64
CLASSIFIER = Classifier.load()


def glyphs() -> list[tuple[int, Array]]:
    """Embedded digits as an even pen's strokes, those that the network is sure of on their own."""
    digits = load_digits()
    found = []
    for label, digit in zip(digits.target[:120], digits.images[:120], strict=True):
        image = Image.fromarray(digit.astype(np.float32)).resize(
            (HEIGHT, HEIGHT), Image.Resampling.BICUBIC
        )
        ink = np.clip((np.asarray(image) - 6) / 2 + 0.5, 0, 1)
        rows, columns = (np.flatnonzero((ink > 0.1).any(axis=axis)) for axis in (1, 0))
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        alone = CLASSIFIER.classify(paper(np.pad(ink, 40)))
        if alone.label == str(label) and alone.confidence > 0.95 and alone.accepted:
            found.append((int(label), ink))
    return found


def paper(ink: Array, noise: float = 3.0) -> Array:
    y, x = np.mgrid[0 : 1 : ink.shape[0] * 1j, 0 : 1 : ink.shape[1] * 1j]
    gray = 220 * (1 - 0.75 * ink) * (1 - 0.3 * x - 0.1 * y)
    gray += np.random.default_rng(0).normal(0, noise, ink.shape)
    return np.clip(np.rint(gray), 0, 255).astype(np.uint8)


GLYPHS = glyphs()


def page(
    seed: int, lines: int = 1, *, count: int = 6, gap: float = 0.4, slope: float = 0.0
) -> tuple[Array, tuple[str, ...]]:
    """Ink of some lines of digits, and their text; gap and slope in heights of a digit."""
    random = np.random.default_rng(seed)
    width = int(HEIGHT * (count * (1 + max(gap, 0)) + 2))
    ink = np.zeros((int(HEIGHT * (2 * lines + 1.5) + abs(slope) * width), width), np.float32)
    text = []
    for line in range(lines):
        left, said = HEIGHT // 2, ""
        for _ in range(count):
            label, digit = GLYPHS[random.integers(len(GLYPHS))]
            down = slope * left + max(0, -slope) * width + HEIGHT * (0.5 + 2 * line)
            top = int(down) + (HEIGHT - digit.shape[0]) // 2
            part = ink[top : top + digit.shape[0], left : left + digit.shape[1]]
            np.maximum(part, digit, out=part)
            left += digit.shape[1] + round(gap * HEIGHT)
            said += str(label)
        text.append(said)
    return ink, tuple(text)


def png(gray: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "PNG")
    return file.getvalue()


def read_all(pages: list[tuple[Array, tuple[str, ...]]]) -> float:
    """The share of the lines read exactly."""
    right = total = 0
    for gray, text in pages:
        lines = CLASSIFIER.read(gray).lines
        assert len(lines) == len(text), (lines, text)
        right += sum(one == other for one, other in zip(lines, text, strict=True))
        total += len(text)
    return right / total


def test_there_are_digits_to_write_with() -> None:
    assert {label for label, _ in GLYPHS} == set(range(10))


@pytest.mark.parametrize("slope", [-0.2, 0.0, 0.15])
def test_lines_and_digits_come_in_their_order(slope: float) -> None:
    pages = [page(seed, 3, slope=slope) for seed in range(4)]
    assert read_all([(paper(ink), text) for ink, text in pages]) >= 0.9


def test_touching_digits_are_cut() -> None:
    pages = [page(seed, count=2, gap=-0.02) for seed in range(20)]
    assert read_all([(paper(ink), text) for ink, text in pages]) >= 0.8


def test_ruled_lines_specks_and_a_shadow_are_no_digits() -> None:
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
    # A line may go through a digit; what else is on the page is none.
    assert read_all(pages) >= 0.85


def test_the_tops_of_printed_digits_in_a_row_are_no_ruled_line() -> None:
    text = ["".join(map(str, row)) for row in np.random.default_rng(0).integers(0, 10, (20, 30))]
    sheet = Image.new("L", (80 + 30 * 34, 80 + 20 * 60), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(40)
    for row, digits in enumerate(text):
        for column, digit in enumerate(digits):
            draw.text((40 + 34 * column, 40 + 60 * row), digit, font=font, fill=0)
    lines = CLASSIFIER.read(sheet).lines
    assert [len(line) for line in lines] == [30] * 20
    pairs = zip("".join(lines), "".join(text), strict=True)
    assert sum(one == other for one, other in pairs) >= 0.85 * 600


def test_pencil_beside_marker_is_read() -> None:
    ink, text = page(3, 2)
    middle = int(2.25 * HEIGHT)
    ink[middle:] *= 0.35
    assert CLASSIFIER.read(paper(ink)).lines == text


def test_small_writing_on_a_large_page_is_looked_at_closer() -> None:
    ink, text = page(4)
    large = np.zeros((2400, 3200), np.float32)
    large[900 : 900 + ink.shape[0], 1200 : 1200 + ink.shape[1]] = ink
    gray = paper(large)
    reading = CLASSIFIER.read(png(gray))
    assert reading.lines == text
    left, top, right, bottom = reading.digits[0].box
    assert 1200 <= left < right < 1200 + 2 * HEIGHT + 16
    assert 900 <= top < bottom <= 900 + ink.shape[0]


def test_what_is_no_digit_is_left_out_or_kept_as_unknown() -> None:
    ink, (text,) = page(5, count=4)
    block = np.zeros((ink.shape[0], HEIGHT * 2), np.float32)
    block[32 : 32 + HEIGHT, 20 : 20 + HEIGHT] = 1
    gray = paper(np.concatenate([ink, block], axis=1))
    reading = CLASSIFIER.read(gray)
    assert reading.text == text
    assert [digit.prediction.accepted for digit in reading.digits] == [True] * 4 + [False]
    assert [digit.order for digit in reading.digits] == list(range(5))
    assert CLASSIFIER.read(gray, keep_unknown=True).text == text + UNKNOWN


@pytest.mark.parametrize("noise", [0, 6])
def test_a_blank_page_says_nothing(noise: float) -> None:
    reading = CLASSIFIER.read(paper(np.zeros((300, 400)), noise))
    assert (reading.text, reading.lines, reading.digits) == ("", (), ())


def test_boxes_are_in_pixels_of_the_upright_original() -> None:
    ink, text = page(6)
    gray = paper(ink)
    turned = Image.fromarray(gray).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    upright, stored = CLASSIFIER.read(gray), CLASSIFIER.read(file.getvalue())
    assert upright.lines == stored.lines == text
    assert [digit.box for digit in upright.digits] == [digit.box for digit in stored.digits]


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError, match="not an image"):
        CLASSIFIER.read(b"this is no picture")


def test_the_picture_shows_each_box() -> None:
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


def test_the_command_reads_and_draws(tmp_path) -> None:
    ink, text = page(8, 2)
    path, drawn = tmp_path / "numbers.png", tmp_path / "drawn.png"
    path.write_bytes(png(paper(ink)))
    done = run(path, "--show", drawn)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{path}: {line}" for line in text]
    with Image.open(drawn) as picture:
        assert picture.format == "PNG"
    absent = tmp_path / "absent.png"
    done = run(path, absent, "--json")
    assert (done.returncode, done.stderr) == (2, "")
    read, failed = map(json.loads, done.stdout.splitlines())
    assert (read["lines"], len(read["digits"])) == (list(text), 12)
    assert set(read["digits"][0]) == {"order", "line", "box", "label", "confidence", "accepted"}
    assert str(absent) in failed["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.png"], "error: absent.png: no such file"),
        (["a.png", "b.png", "--show", "c.png"], "usage"),
        ([], "usage"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["photo.jpg", "scan.png", "screen.png"])
def test_a_picture_of_one_digit_is_read_too(name: str) -> None:
    path = Path(__file__).parents[3] / "examples" / name
    classifier = Classifier.load()
    wanted = classifier.classify(path, return_view=True)
    for image in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        reading = classifier.read(image)
        assert reading.text == wanted.label
        assert len(reading.digits) == 1


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    photo = (Path(__file__).parents[3] / "examples" / "photo.jpg").read_bytes()
    for ask in (lambda: CLASSIFIER.read(pipe).text, lambda: CLASSIFIER.classify(pipe).label):
        writer = threading.Thread(target=pipe.write_bytes, args=(photo,))
        writer.start()
        assert ask() == "7"
        writer.join()


def test_a_page_full_of_digits_is_not_too_much() -> None:
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


def test_a_page_of_dashes_is_refused() -> None:
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
            ink = GLYPHS[random.integers(len(GLYPHS))][1]
            digit = Image.fromarray((230 - 200 * ink).astype(np.uint8)).reduce(2)
            y, x = 40 + row * 56, 30 + column * 40
            sheet[y : y + digit.height, x : x + digit.width] = np.asarray(digit)
    reading = CLASSIFIER.read(sheet)
    assert len(reading.lines) == 50
    assert sum(map(len, reading.lines)) > 1990


def test_page_of_more_pieces_than_digits_on_a_page_is_refused_before_it_is_read() -> None:
    sheet = np.full((3000, 3000), 255, np.uint8)
    for y in range(56, 2950, 56):
        for x in range(56, 2950, 56):
            sheet[y : y + 20, x : x + 20] = 0
    started = time.process_time()
    with pytest.raises(ImageError, match="more pieces of ink than a page of digits; crop it"):
        CLASSIFIER.read(sheet)
    assert time.process_time() - started < 1


def test_pieces_are_grouped_as_if_each_pair_was_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.multi_digit.layout._MAX_PAIRS", 500)
    random = np.random.default_rng(0)
    height = 20.0
    for shape in ((200, 200), (60, 900), (900, 60)):
        corners = random.integers(0, shape, (70, 2))
        boxes = np.concatenate((corners, corners + random.integers(2, 30, (70, 2))), axis=1)
        expected = []
        for one, first in enumerate(boxes):
            for other, second in enumerate(boxes):
                near_x, near_y = np.maximum(first[:2], second[:2])
                far_x, far_y = np.minimum(first[2:], second[2:])
                width, low = np.minimum(first[2:] - first[:2], second[2:] - second[:2])
                beside = far_x - near_x > -0.1 * height and width * low < 0.2 * height**2
                high = max(first[3], second[3]) - min(first[1], second[1])
                if (
                    one != other
                    and low < 0.6 * height
                    and (far_x - near_x > 0.5 * width or beside)
                    and near_y - far_y < 0.25 * height
                    and high < 1.8 * height
                ):
                    expected.append([one, other])
        assert list(layout._joined(boxes, height)) == expected
        assert expected


def test_blobs_cut_together_give_the_pieces_of_each_alone(
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


def test_a_page_on_which_too_much_would_be_tried_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ink, _ = page(3, 4)
    CLASSIFIER.read(paper(ink))
    monkeypatch.setattr("runtime.multi_digit.recognize._MAX_JOINS", 20)
    with pytest.raises(ImageError, match="<array>: more pieces of ink than a page of digits"):
        CLASSIFIER.read(paper(ink))


def test_line_whose_joined_pieces_take_too_much_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ink, _ = page(3, 1)
    monkeypatch.setattr("runtime.multi_digit.recognize._MAX_JOINED_PIXELS", 10_000)
    with pytest.raises(ImageError, match="<array>: more pieces of ink than a page of digits"):
        CLASSIFIER.read(paper(ink))


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from Linux")
def test_a_photographed_page_takes_no_more_than_is_estimated(tmp_path: Path) -> None:
    ink, text = page(3, 8)
    sheet = np.full((3000, 4000), 220, np.uint8)
    small = Image.fromarray(paper(ink)).reduce(2)  # so that it is looked at closely
    sheet[1000 : 1000 + small.height, 1500 : 1500 + small.width] = np.asarray(small)
    Image.fromarray(sheet).save(tmp_path / "page.jpg", quality=95)
    script = (
        "import sys\nfrom runtime import Classifier\n"
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "classifier = Classifier.load()\nclassifier.read(sys.argv[1])\nbefore = peak()\n"
        "classifier.read(sys.argv[2])\nprint(peak() - before)\n"
    )
    Image.fromarray(sheet[1000:1400, 1500:1900]).save(tmp_path / "small.png")
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "small.png", tmp_path / "page.jpg"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) << 10 < estimate_page_memory((4000, 3000))
