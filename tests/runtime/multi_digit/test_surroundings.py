"""Pictures in which something beside the numbers misleads: dark objects, shadows, rules, rims."""

import numpy as np
import pytest
from PIL import Image

from runtime.multi_digit.deskew import find_skew
from runtime.multi_digit.frames import find_frames
from runtime.multi_digit.layout import find_writing
from runtime.multi_digit.line_crop import crop_lines
from runtime.multi_digit.recognize import View, find_views
from runtime.preprocess.connected_components import find_components
from runtime.preprocess.decode import CachedDecoder
from tests.runtime.multi_digit.test_read_lines import CLASSIFIER, number, paper, read
from tests.runtime.multi_digit.test_recognize import page
from tests.runtime.multi_digit.test_recognize import paper as shaded_paper

pytestmark = pytest.mark.portable


@pytest.mark.parametrize(("place", "darkest"), [(0.9, 0.2), (1.1, 0.5)])
def test_shadow_beside_a_light_margin_hides_no_digit(place: float, darkest: float) -> None:
    """The shadow is the largest ink of the page, and the margin is the lightest part."""
    gray = paper(np.pad(number("274", margin=40), ((80, 300), (120, 420)))).astype(np.float32)
    height, width = gray.shape
    rows, columns = np.indices(gray.shape)
    along = rows * width / height + columns - place * width
    gray *= 1 - (1 - darkest) / (1 + np.exp(-along / 60))
    gray[rows > height - 1 - 0.07 * columns[:, ::-1]] = 200
    gray[columns > width - 1 - 0.07 * rows] = 200
    assert CLASSIFIER.read(np.clip(gray, 0, 255).astype(np.uint8)).lines == ("274",)


def test_digit_that_a_dark_corner_covers_is_unknown() -> None:
    ink = number("27465", margin=60)
    rows, columns = np.indices(ink.shape)
    right = np.flatnonzero(ink.any(axis=0))[-1]
    ink[(columns > right - 25 + 0.3 * rows) & (rows > 55)] = 1
    text = read(ink)[0]
    assert text.startswith("2746")
    assert set(text[4:]) == {"?"}


@pytest.mark.parametrize(("text", "on_left"), [("05271", True), ("6304", False)])
def test_digit_that_merges_with_a_faint_area_is_read(text: str, on_left: bool) -> None:
    """A light margin beside the darker end of the paper is ink, and the digit is in it."""
    gray = paper(number(text, margin=30, gap=0.6)).astype(np.float32)
    shade = np.minimum(np.linspace(0.6, 1.3, gray.shape[1]), 1)
    gray *= shade if on_left else shade[::-1]
    gray = np.pad(gray, 60, constant_values=float(np.median(gray)))
    assert CLASSIFIER.read(np.clip(gray, 0, 255).astype(np.uint8)).text == text


@pytest.mark.parametrize(("text", "scale"), [("860", 1), ("640", 1), ("640", 3)])
def test_tight_crop_of_bold_digits_has_no_sheet(text: str, scale: int) -> None:
    ink = number(text, margin=4)
    for _ in range(4):
        padded = np.pad(ink, 1)
        ink = np.maximum.reduce(
            [ink, padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        )
    assert read(np.kron(ink, np.ones((scale, scale), np.float32))) == (text,)


def test_ink_of_the_size_of_digits_beside_a_line_is_cropped_with_it() -> None:
    gray = paper(number("274", margin=60))
    writing = find_writing(gray, "gray")
    assert writing is not None
    (line,) = writing.text_lines()
    width = crop_lines(writing, [line])[0].reader_width_px
    first = line.boxes[:, 2].argsort()[:-1]
    shorter = type(line)(line.members[first], line.boxes[first], line.slope)
    assert crop_lines(writing, [shorter])[0].reader_width_px == pytest.approx(width, abs=2)


def test_piece_of_a_broken_rule_does_not_make_a_digit_a_frame() -> None:
    mask = np.zeros((80, 120), np.bool_)
    mask[10:70, 20:24] = mask[10:14, 20:60] = mask[10:70, 56:60] = mask[66:70, 20:60] = True
    mask[30:52, 38:42] = True
    components = find_components(mask, mask.astype(np.float32))
    assert components is not None
    assert find_frames(components).sum() == 1
    assert not find_frames(components, min_content_px=25).any()


def test_bottoms_of_digits_and_one_rule_do_not_tilt_the_page() -> None:
    gray = np.full((200, 900), 230, np.uint8)
    gray[160:163] = 40
    for number_, left in enumerate(range(60, 840, 110)):
        gray[120 - 4 * number_ : 123 - 4 * number_, left : left + 60] = 40
    assert find_skew(gray) == 0


@pytest.mark.parametrize("seed", [3, 6])
def test_shaded_card_on_a_sheet_on_a_desk_is_read(seed: int) -> None:
    """The card is darker than the sheet, so that at first it is the only ink."""
    ink, lines = page(seed, 4)
    card = Image.fromarray(shaded_paper(ink))
    card.thumbnail((432, 324))
    picture = np.full((866, 1154), 70, np.uint8)
    picture[108:-108, 144:-144] = 220
    picture[128 : 128 + card.height, 164 : 164 + card.width] = np.asarray(card)
    assert CLASSIFIER.read(picture).lines == lines


def test_large_photograph_of_a_card_is_also_looked_at_as_it_is() -> None:
    """The card may be one bold letter, which `View.CARD` breaks into pieces."""
    ink, _ = page(3, 6)
    card = Image.fromarray(shaded_paper(ink)).resize((640, 800))
    picture = np.full((3000, 4000), 70, np.uint8)
    picture[375:-375, 500:-500] = 220
    picture[400 : 400 + card.height, 530 : 530 + card.width] = np.asarray(card)
    views = find_views(CachedDecoder(picture))
    assert {found.view for found in views} >= {View.IMAGE, View.CARD}


@pytest.mark.parametrize("text", ["2", "27", "537"])
@pytest.mark.parametrize("margin", [6, 10, 14])
def test_sides_of_a_box_are_not_digits_that_were_missed(text: str, margin: int) -> None:
    ink = np.pad(number(text, margin=margin), ((0, 0), (6, 6)))
    ink[:, 2:5] = ink[:, -5:-2] = 1
    assert read(ink) == (text,)


@pytest.mark.parametrize("text", ["537", "40", "0000"])
@pytest.mark.parametrize("width", [4, 9])
def test_edge_of_a_page_is_not_a_digit_that_was_missed(text: str, width: int) -> None:
    ink = np.pad(number(text, margin=3), ((0, 0), (width + 12, 0)))
    ink[:, :width] = 1
    assert read(ink) == (text,)


@pytest.mark.parametrize("text", ["1", "21", "131"])
def test_thin_1_as_high_as_the_crop_is_not_the_side_of_a_box(text: str) -> None:
    ink = number(text.replace("1", "7"), margin=8)
    columns = np.flatnonzero(ink.any(axis=0))
    ink = np.pad(ink, ((0, 0), (0, 30)))
    ink[8:-8, columns[-1] + 14 : columns[-1] + 19] = 1
    got = read(ink)[0]
    assert got[: len(text)] == text.replace("1", "7")
    assert got[len(text) :] in ("1", "?")


@pytest.mark.parametrize("into_px", [12, 20])
@pytest.mark.parametrize(("text", "seed"), [("9642", 0), ("9642", 1), ("8305", 1)])
def test_digit_that_a_dark_area_touches_is_not_left_out(text: str, seed: int, into_px: int) -> None:
    """The first digit was a part of the area, and left out without a `?`."""
    ink = number(text, margin=120, gap=0.5, seed=seed)
    rows, columns = np.indices(ink.shape)
    first = np.flatnonzero(ink.any(axis=0))[0]
    page = paper(ink)
    in_area = columns < first + into_px + 0.1 * (rows - 120)
    (line,) = CLASSIFIER.read(np.where(in_area, page // 2, page)).lines
    assert len(line) == len(text)
    assert line.endswith(text[1:])
