"""Reading numbers with the line reader: drawn crops, rules, boxes, operators, turned pages."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from runtime.classifier import Classifier
from runtime.errors import ArtifactError, ImageError
from runtime.multi_digit.layout import find_writing
from runtime.multi_digit.line_crop import LineCrop, crop_whole
from runtime.multi_digit.line_reader import LineReader, Proposal
from runtime.multi_digit.page_reading import is_number, may_be_one_letter
from runtime.multi_digit.read_lines import read_lines
from runtime.multi_digit.recognize import UNKNOWN
from runtime.multi_digit.verify import Symbol, _cuts, verify
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder
from train.lines.marks import draw_operator
from train.negatives import draw_negatives

pytestmark = pytest.mark.portable

Array = np.ndarray[Any, np.dtype[Any]]
CLASSIFIER = Classifier.load()
HEIGHT = 48
PRETRAINED = Path(sys.modules["runtime"].__file__ or "").parent / "pretrained"


@functools.cache
def glyphs() -> dict[str, list[Array]]:
    """Digits of scikit-learn drawn with a pen stroke, if the model classifies them well."""
    digits = load_digits()
    found: dict[str, list[Array]] = {str(digit): [] for digit in range(10)}
    for label, digit in zip(digits.target[:300], digits.images[:300], strict=True):
        image = Image.fromarray(digit.astype(np.float32)).resize(
            (HEIGHT, HEIGHT), Image.Resampling.BICUBIC
        )
        ink = np.clip((np.asarray(image) - 7) / 2 + 0.5, 0, 1)
        rows, columns = (np.flatnonzero((ink > 0.1).any(axis=axis)) for axis in (1, 0))
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        alone = CLASSIFIER.classify(paper(np.pad(ink, 30)))
        if alone.label == str(label) and alone.confidence > 0.98 and alone.accepted:
            found[str(label)].append(ink)
    return found


def paper(ink: Array, dark: int = 40, light: int = 225) -> Array:
    """Draw ink, 0 to 1, on slightly noisy paper: uint8."""
    gray = light - (light - dark) * ink + np.random.default_rng(0).normal(0, 1.5, ink.shape)
    return np.clip(np.rint(gray), 0, 255).astype(np.uint8)


def number(text: str, gap: float = 0.3, margin: int = 30, seed: int = 0) -> Array:
    """Return the ink of a number; `gap` in digit heights, `margin` in pixels."""
    random = np.random.default_rng(seed)
    chosen = [glyphs()[label][random.integers(len(glyphs()[label]))] for label in text]
    step = round(gap * HEIGHT)
    width = sum(ink.shape[1] + step for ink in chosen) - step
    page = np.zeros((HEIGHT + 2 * margin, width + 2 * margin), np.float32)
    left = margin
    for ink in chosen:
        top = margin + HEIGHT - ink.shape[0]
        part = page[top : top + ink.shape[0], left : left + ink.shape[1]]
        np.maximum(part, ink, out=part)
        left += ink.shape[1] + step
    return page


def drawn(ink: Array, *strokes: tuple[float, float, float, float], width: int = 4) -> Array:
    """Return ink with straight strokes added."""
    image = Image.fromarray((ink * 255).astype(np.uint8))
    for stroke in strokes:
        ImageDraw.Draw(image).line(stroke, fill=255, width=width)
    return np.asarray(image).astype(np.float32) / 255


def read(ink: Array) -> tuple[str, ...]:
    return CLASSIFIER.read(paper(ink)).lines


@pytest.mark.parametrize("text", ["1147", "4710", "197", "01", "268", "99", "3060"])
def test_low_wide_crop_is_read(text: str) -> None:
    """Stems are longer than 0.4 of its height; they are not ruled lines."""
    assert read(number(text, margin=7)) == (text,)


@pytest.mark.parametrize("text", ["197", "01", "268"])
def test_specks_next_to_few_digits_do_not_hide_them(text: str) -> None:
    ink = number(text)
    random = np.random.default_rng(1)
    for y, x in random.integers(2, min(ink.shape) - 2, (12, 2)).tolist():
        if not ink[y - 2 : y + 4, x - 2 : x + 4].any():
            ink[y : y + 2, x : x + 2] = 0.9
    assert read(ink) == (text,)


def test_digits_that_the_rim_cuts_off_are_read() -> None:
    ink = number("244")
    rows, columns = (np.flatnonzero((ink > 0.1).any(axis=axis)) for axis in (1, 0))
    assert read(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]) == ("244",)


@pytest.mark.parametrize("text", ["3200", "1000", "5080"])
def test_digits_on_a_rule_keep_their_bottoms(text: str) -> None:
    ink = number(text, gap=0.2)
    y = 30 + HEIGHT - 1
    assert read(drawn(ink, (0, y, ink.shape[1], y), width=2)) == (text,)


def test_boxes_around_digits_are_not_ink() -> None:
    ink = number("5238", gap=0.9, seed=2)
    height, width = ink.shape
    columns = np.flatnonzero((ink > 0.1).any(axis=0))
    starts = columns[np.append(True, np.diff(columns) > 10)]
    ends = columns[np.append(np.diff(columns) > 10, True)]
    strokes = [(10.0, 10.0, width - 10.0, 10.0), (10.0, height - 10.0, width - 10.0, height - 10.0)]
    for x in (10, *((ends[:-1] + starts[1:]) // 2).tolist(), width - 10):
        strokes.append((float(x), 10.0, float(x), height - 10.0))
    (line,) = read(drawn(ink, *strokes, width=2))
    assert line.replace(UNKNOWN, "") == "5238"


FRAMED = "50432"


def framed(kind: str) -> Array:
    """Return the ink of `FRAMED`, each digit in a printed frame."""
    pitch, top, bottom = 90, 8, 152
    ink = np.zeros((160, pitch * len(FRAMED) + 20), np.float32)
    strokes: list[tuple[float, float, float, float]] = []
    image = Image.new("L", ink.shape[::-1])
    for place, label in enumerate(FRAMED):
        glyph = glyphs()[label][0]
        left = 10 + place * pitch + (pitch - glyph.shape[1]) // 2
        ink[56 : 56 + glyph.shape[0], left : left + glyph.shape[1]] = glyph
        x = 10.0 + place * pitch
        if kind == "boxes":
            x0, x1 = x + 8, x + pitch - 8
            strokes += [(x0, top, x1, top), (x0, bottom, x1, bottom)]
            strokes += [(x0, top, x0, bottom), (x1, top, x1, bottom)]
        elif kind == "circles":
            ImageDraw.Draw(image).ellipse((x + 5, 40, x + 85, 120), outline=255, width=3)
    if kind in ("comb", "table"):
        teeth = 105.0 if kind == "comb" else 30.0
        lines = (130.0,) if kind == "comb" else (30.0, 130.0)
        ends = 10.0, 10.0 + pitch * len(FRAMED)
        strokes += [(ends[0], y, ends[1], y) for y in lines]
        strokes += [
            (10.0 + n * pitch, teeth, 10.0 + n * pitch, 130.0) for n in range(len(FRAMED) + 1)
        ]
    ink = np.maximum(ink, np.asarray(image).astype(np.float32) / 255)
    return drawn(ink, *strokes, width=3)


@pytest.mark.parametrize("kind", ["boxes", "circles", "comb", "table"])
def test_frames_around_digits_are_no_digits(kind: str) -> None:
    assert read(framed(kind)) == (FRAMED,)


@pytest.mark.parametrize("label", ["4", "7", "9"])
def test_one_digit_in_a_circle_is_read_without_it(label: str) -> None:
    """Together, digit and circle look like a 0 or an 8."""
    ink = number(label, margin=40)
    height, width = ink.shape
    image = Image.fromarray((ink * 255).astype(np.uint8))
    ImageDraw.Draw(image).ellipse((6, 6, width - 6, height - 6), outline=255, width=3)
    assert read(np.asarray(image).astype(np.float32) / 255) == (label,)


def test_frames_are_found_and_digits_are_none() -> None:
    writing = find_writing(paper(framed("circles")), "circles")
    assert writing is not None
    assert int(writing.preprinted.sum()) == len(writing.groups) == len(FRAMED)
    writing = find_writing(paper(number("1110806")), "digits")
    assert writing is not None
    assert not writing.preprinted.any()


def test_halves_of_seven_segment_digits_are_one_line() -> None:
    """Only 4 and 2 are of one piece; the halves of 0 and 7 have a gap between them."""
    image = Image.new("L", (4 * 200, 280), 172)
    draw = ImageDraw.Draw(image)
    for place, lit in enumerate(("fgbc", "abcdef", "abc", "abged")):
        x0, y0, x1, y1, thick = 40 + 200 * place, 40, 160 + 200 * place, 240, 20
        middle = (y0 + y1) // 2
        boxes = {
            "a": (x0 + 4, y0, x1 - 4, y0 + thick),
            "g": (x0 + 4, middle - 10, x1 - 4, middle + 10),
            "d": (x0 + 4, y1 - thick, x1 - 4, y1),
            "f": (x0, y0 + 4, x0 + thick, middle - 4),
            "b": (x1 - thick, y0 + 4, x1, middle - 4),
            "e": (x0, middle + 4, x0 + thick, y1 - 4),
            "c": (x1 - thick, middle + 4, x1, y1 - 4),
        }
        for segment in lit:
            draw.rectangle(boxes[segment], fill=20)
    (line,) = CLASSIFIER.read(np.asarray(image)).lines
    assert len(line) == 4
    assert all(read in (label, UNKNOWN) for read, label in zip(line, "4072", strict=True))


def test_edge_of_the_page_is_not_a_one() -> None:
    ink = number("5372", margin=14)
    ink[:, -6:] = 0.9
    (line,) = read(ink)
    assert line.rstrip(UNKNOWN) == "5372"


@pytest.mark.parametrize("sign", ["+", "/", "x"])
def test_operator_is_unknown_and_never_a_digit(sign: str) -> None:
    left, right = number("52"), number("83")
    gap = np.zeros((left.shape[0], 40), np.float32)
    ink = np.concatenate([left, gap, right], axis=1)
    x, y = left.shape[1] + 20, 30 + HEIGHT / 2
    strokes = {
        "+": [(x - 16, y, x + 16, y), (x, y - 16, x, y + 16)],
        "/": [(x - 18, y + 30, x + 18, y - 30)],
        "x": [(x - 13, y - 13, x + 13, y + 13), (x - 13, y + 13, x + 13, y - 13)],
    }[sign]
    (line,) = read(drawn(ink, *strokes))
    assert line.replace(UNKNOWN, "") == "5283"
    assert line[2] == UNKNOWN


def test_dash_between_digits_is_unknown_and_one_behind_them_is_no_sign() -> None:
    left, right = number("52"), number("83")
    gap = np.zeros((left.shape[0], 60), np.float32)
    x, y = left.shape[1] + 30, 30 + HEIGHT / 2
    between = drawn(np.concatenate([left, gap, right], axis=1), (x - 20, y, x + 20, y))
    behind = drawn(np.concatenate([left, gap], axis=1), (x - 25, y, x + 15, y))
    assert read(between) == (f"52{UNKNOWN}83",)
    assert read(behind) == ("52",)


def test_thousands_separator_is_no_sign() -> None:
    ink = number("2650", gap=0.35)
    columns = np.flatnonzero((ink > 0.1).any(axis=0))
    end = int(columns[np.flatnonzero(np.diff(columns) > 5)[0]])
    y = 30 + HEIGHT - 5
    ink[y : y + 5, end + 6 : end + 11] = 1
    assert read(ink) == ("2650",)


def test_white_paper_on_a_dark_desk_is_read() -> None:
    sheet = paper(number("5372", margin=40))
    desk = np.full((sheet.shape[0] + 160, sheet.shape[1] + 200), 45, np.uint8)
    desk[80:-80, 100:-100] = sheet
    assert "5372" in CLASSIFIER.read(desk).lines


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_page_is_read_and_boxes_are_on_the_page_as_given(turns: int) -> None:
    text = "47347"
    page = np.rot90(paper(number(text, margin=60)), turns)
    recognition = CLASSIFIER.read(np.ascontiguousarray(page))
    assert recognition.lines == (text,)
    for digit in recognition.digits:
        left, top, right, bottom = digit.box
        assert page[top:bottom, left:right].min() < 90
        assert 0.5 * HEIGHT < max(right - left, bottom - top) < 1.6 * HEIGHT


@pytest.mark.parametrize("turns", [1, 3])
def test_page_that_reads_both_ways_has_no_accepted_digit(turns: int) -> None:
    """88008 is a number upside down, too, and no five numbers of one digit."""
    page = np.ascontiguousarray(np.rot90(paper(number("80008", margin=60)), turns))
    assert CLASSIFIER.read(page).lines in (("80008",), ("?????",))


def test_doubtful_line_of_a_page_is_not_left_out() -> None:
    """The digits of the second line touch."""
    first, third = number("4735", margin=20), number("2734", margin=20)
    second = number("61", gap=-0.1, margin=20)
    width = max(ink.shape[1] for ink in (first, second, third))
    lines = [np.pad(ink, ((0, 0), (0, width - ink.shape[1]))) for ink in (first, second, third)]
    read_lines = read(np.concatenate(lines))
    assert (read_lines[0], read_lines[-1]) == ("4735", "2734")
    assert len(read_lines) == 3
    assert "?" in read_lines[1] or read_lines[1] == "61"


def test_digit_among_specks_is_a_place_not_nothing() -> None:
    ink = number("4", margin=40)
    random = np.random.default_rng(1)
    for row, column in random.integers(3, [len(ink) - 6, ink.shape[1] - 6], (9, 2)):
        ink[row : row + 3, column : column + 3] = 0.8
    assert read(ink) in (("4",), ("?",))


def test_zigzag_is_not_a_number() -> None:
    image = Image.new("L", (400, 160))
    points = [(20 + 20 * step, 40 + 80 * (step % 2)) for step in range(18)]
    ImageDraw.Draw(image).line(points, fill=255, width=4)
    assert read(np.asarray(image).astype(np.float32) / 255) == ()


def test_line_has_the_confidence_of_its_digits() -> None:
    recognition = CLASSIFIER.read(paper(number("5372")))
    confidences = [digit.prediction.confidence for digit in recognition.digits]
    assert recognition.confidences == (pytest.approx(np.prod(confidences)),)
    assert 0.5 < recognition.confidences[0] <= 1


def test_classify_does_not_open_the_line_reader() -> None:
    script = (
        "import sys, numpy as np\nfrom runtime import Classifier\n"
        "Classifier.load().classify(np.full((60, 60), 255, np.uint8))\n"
        "print(any('line_reader' in name for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_published_line_reader_is_small_and_no_classifier(suffix: str) -> None:
    path = PRETRAINED / f"lines-int8{suffix}"
    assert path.stat().st_size <= 250_000
    with pytest.raises(ArtifactError, match="reads lines, not single images"):
        Classifier.load(path)


def test_both_engines_read_the_same() -> None:
    other = Classifier.load(PRETRAINED / "digits-int8.onnx")
    for text in ("5372", "1480", "26"):
        assert other.read(paper(number(text))).lines == read(number(text)) == (text,)


class _Scores:
    """A backend whose scores are given."""

    def __init__(self, labels: str) -> None:
        self.spec = CLASSIFIER._line_reader()._backend.spec  # type: ignore[union-attr]
        names = self.spec.labels
        columns = [names.index("blank" if label == "_" else label) for label in labels]
        self._logits = np.full((1, len(columns), len(names)), -20, np.float32)
        self._logits[0, np.arange(len(columns)), columns] = 0

    def scores(self, pixels: Array) -> Array:
        return self._logits


def test_best_path_merges_repeats_that_no_blank_separates() -> None:
    reader = LineReader(_Scores("__11_1__?0_"))  # type: ignore[arg-type]
    proposals = reader.read(np.zeros((32, 44), np.uint8))
    assert "".join(proposal.label for proposal in proposals) == "11?0"
    assert [round(proposal.x_fraction * 11, 1) for proposal in proposals] == [3.0, 5.5, 8.5, 9.5]


def test_digit_that_the_digit_network_reads_otherwise_is_rejected_or_corrected() -> None:
    """It depends on how confident the line reader is."""
    crop = crop_whole(paper(number("537")))
    assert crop is not None
    width = crop.ink.shape[1]
    centers = _centers(crop)
    right = [Proposal(label, 0.95, x / width) for label, x in zip("537", centers, strict=True)]
    wrong = [right[0], Proposal("8", 0.98, right[1].x_fraction), right[2]]
    doubtful = [right[0], Proposal("8", 0.6, right[1].x_fraction), right[2]]
    symbols = verify(crop, right, CLASSIFIER._predict_batch, CLASSIFIER._is_confirmed)
    assert [symbol.accepted for symbol in symbols] == [True] * 3
    symbols = verify(crop, wrong, CLASSIFIER._predict_batch, CLASSIFIER._is_confirmed)
    assert [symbol.accepted for symbol in symbols] == [True, False, True]
    symbols = verify(crop, doubtful, CLASSIFIER._predict_batch, CLASSIFIER._is_confirmed)
    assert "".join(symbol.label for symbol in symbols if symbol.accepted) == "537"


def test_digits_that_lean_but_do_not_touch_are_not_cut_through_ink() -> None:
    """The seam between them moves sideways in each row, but it has no ink."""
    rows, columns = np.indices((64, 80))
    strokes = [abs(columns - (left + 0.5 * (63 - rows))) < 4 for left in (8, 30)]
    ink = (strokes[0] | strokes[1]).astype(np.float32)
    assert not (strokes[0] & strokes[1]).any()
    between = _cuts(ink, [23.0, 45.0], 60.0)[1]
    assert [cut_ink for _, cut_ink in between] == [0.0]


@pytest.mark.parametrize(("confidence", "is_letter"), [(1.0, False), (0.9, True)])
def test_stem_and_bow_of_one_piece_are_a_letter_unless_they_are_certain(
    confidence: float, is_letter: bool
) -> None:
    scores = np.full(10, 0.01, np.float32)
    symbols = [
        Symbol(label, confidence, True, box, Prediction(label, 0.99, scores, True), confidence)
        for label, box in (("1", (0, 0, 10, 40)), ("7", (10, 0, 30, 40)))
    ]
    assert may_be_one_letter(symbols) is is_letter


@pytest.mark.parametrize("signs", ["+/", "÷(", "=)"])
def test_operators_without_digits_are_nothing(signs: str) -> None:
    """As one digit, a slash or a parenthesis resembles a 1."""
    random = np.random.default_rng(0)
    page = np.zeros((100, 200), np.float32)
    for place, sign in enumerate(signs):
        ink = draw_operator(sign, 40, 5, 0.0, random)
        top, left = 50 - len(ink) // 2, 40 + 60 * place
        page[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    assert read(page) == ()


@pytest.mark.parametrize("spread", [1.0, 2.8])
def test_digit_that_the_line_reader_skipped_is_an_unknown_place(spread: float) -> None:
    crop = crop_whole(paper(number("537")))
    assert crop is not None
    # The digits of a line whose baseline is a curve are lower than the line.
    crop = dataclasses.replace(crop, digit_height=spread * crop.digit_height)
    width, centers = crop.ink.shape[1], _centers(crop)
    proposals = [Proposal("5", 1.0, centers[0] / width), Proposal("7", 1.0, centers[2] / width)]
    symbols = verify(crop, proposals, CLASSIFIER._predict_batch, CLASSIFIER._is_confirmed)
    assert (
        "".join(symbol.label if symbol.accepted else UNKNOWN for symbol in symbols)
        == f"5{UNKNOWN}7"
    )


def _centers(crop: LineCrop) -> list[float]:
    columns = np.flatnonzero((crop.ink > 100).any(axis=0))
    starts = columns[np.append(True, np.diff(columns) > 4)]
    ends = columns[np.append(np.diff(columns) > 4, True)]
    return ((starts + ends + 1) / 2).tolist()  # type: ignore[no-any-return]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runtime.read", *map(str, arguments)], capture_output=True, text=True
    )


def test_command_shows_counts_and_drops_unknown_places(tmp_path: Path) -> None:
    left, right = number("52"), number("83")
    block = np.zeros((left.shape[0], HEIGHT + 20), np.float32)
    block[30 : 30 + HEIGHT, 10 : 10 + HEIGHT] = 1
    path = tmp_path / "sum.png"
    Image.fromarray(paper(np.concatenate([left, block, right], axis=1))).save(path)
    shown, dropped, before = run(path), run(path, "--drop-unknown"), run(path, "--keep-unknown")
    assert [done.returncode for done in (shown, dropped, before)] == [0, 0, 0]
    assert shown.stdout == before.stdout == f"{path}: 52{UNKNOWN}83\n"
    assert dropped.stdout == f"{path}: 5283\n"
    assert shown.stderr == (
        f"{path}: 1 place is not certainly one digit, shown as ?; check the image\n"
    )
    assert "omitted" in dropped.stderr
    record = json.loads(run(path, "--json").stdout)
    assert len(record["confidences"]) == len(record["lines"]) == 1
    assert all(0 <= digit["confidence"] <= 1 for digit in record["digits"])


def test_components_are_rejected_as_strictly_as_images() -> None:
    """An uncertain component is accepted only if test-time augmentation confirms it."""
    letters = [*draw_negatives(200, 3)]
    lenient = [p.accepted for p in CLASSIFIER._predict_batch(letters)]
    strict = [p.accepted for p in CLASSIFIER._predict_components(letters)]
    pages = [np.pad(letter[..., 0] / 255, 40).repeat(3, 0).repeat(3, 1) for letter in letters]
    single = [CLASSIFIER.classify(paper(page)).accepted for page in pages]
    assert sum(strict) < sum(lenient)
    assert sum(strict) <= sum(single) + 5  # the paper's noise changes a few pictures
    assert not any(now and not before for now, before in zip(strict, lenient, strict=True))


def test_work_of_a_page_of_noise_is_limited() -> None:
    side = 4
    blocks = np.random.default_rng(0).random((250, 250)) < 0.3
    gray = np.where(np.kron(blocks, np.ones((side, side), np.bool_)), 30, 235).astype(np.uint8)
    pieces = 0

    def count(batch: list[Array]) -> list[Prediction]:
        nonlocal pieces
        pieces += len(batch)
        return CLASSIFIER._predict_batch(batch)

    reader = CLASSIFIER._line_reader()
    assert reader is not None
    read_lines(CachedDecoder(gray), reader, count, CLASSIFIER._is_confirmed)
    assert 100 < pieces < 4000


def test_ink_of_the_shape_of_a_rule_is_not_read_as_a_line() -> None:
    """A line of 1 × 1,024 pixels would take the engine 130 MB."""
    reader = CLASSIFIER._line_reader()
    assert reader is not None
    assert reader.read(np.full((1, 1024), 255, np.uint8)) == []


def test_large_page_is_not_taken_for_one_line() -> None:
    """The memory of the whole picture as one line would exceed the limit of 260 MB."""
    small = np.full((60, 200), 230, np.uint8)
    small[10:50, 40:48] = 20
    assert crop_whole(small) is not None
    assert crop_whole(np.kron(small, np.ones((20, 20), np.uint8))) is None


def test_page_is_read_although_it_has_too_much_ink_if_it_is_turned() -> None:
    rows, columns = np.arange(1000)[:, None], np.arange(1000)
    ink = (rows % 9 < 5) & (columns % 12 < 6)
    gray = np.where(ink, 30, 235).astype(np.uint8)
    with pytest.raises(ImageError):
        find_writing(np.ascontiguousarray(np.rot90(gray)), "turned")
    assert CLASSIFIER.read(gray).text == ""


@pytest.mark.parametrize("text", ["0", "3", "5", "8"])
@pytest.mark.parametrize("length_px", [40, 80])
@pytest.mark.parametrize("down", [0.5, 0.8])
def test_digit_with_a_dash_beside_it_is_read_without_it(
    text: str, length_px: int, down: float
) -> None:
    """`classify` takes the dash with the digit: 0- was read as 2, others as `?`."""
    margin = 40
    ink = np.pad(number(text, margin=margin), ((0, 0), (0, 90)))
    row = margin + round(down * HEIGHT)
    start = int(np.flatnonzero(ink.any(axis=0))[-1]) + 4
    assert read(drawn(ink, (start, row, start + length_px, row), width=5)) == (text,)


@pytest.mark.parametrize(("digits", "others", "expected"), [(2, 4, False), (2, 3, True)])
def test_line_of_few_digits_is_text(digits: int, others: int, expected: bool) -> None:
    box = (0, 0, 20, 30)
    symbols = [Symbol("7", 0.9, True, box, None, 0.9)] * digits
    symbols += [Symbol(UNKNOWN, 0.9, False, box, None, 0.9)] * others
    assert is_number(symbols) == expected


@pytest.mark.parametrize("text", ["4", "7", "0", "25"])
def test_number_in_brackets_is_read(text: str) -> None:
    ink = np.pad(number(text, margin=40), ((0, 0), (20, 20)))
    columns = np.flatnonzero(ink.any(axis=0))
    image = Image.fromarray((ink * 255).astype(np.uint8))
    for left, start, end in ((columns[0] - 22, 120, 240), (columns[-1] - 18, -60, 60)):
        box = (int(left), 28, int(left) + 40, len(ink) - 28)
        ImageDraw.Draw(image).arc(box, start, end, fill=255, width=4)
    assert read(np.asarray(image).astype(np.float32) / 255) == (f"?{text}?",)
