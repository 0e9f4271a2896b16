"""`read` finds a sheet on a desk, and straightens slanting rules."""

import numpy as np
import pytest
from PIL import Image

from runtime.multi_digit.deskew import deskew, find_skew, skew_box
from runtime.multi_digit.frames import find_bars
from runtime.multi_digit.shadows import flatten_illumination
from runtime.multi_digit.sheet import isolate_sheet
from runtime.preprocess.connected_components import find_components
from tests.runtime.multi_digit.test_read_lines import CLASSIFIER, number, paper, read


def _on_desk(sheet: np.ndarray, desk: int, angle: float = 0.0) -> np.ndarray:
    page = Image.new("L", (sheet.shape[1] + 240, sheet.shape[0] + 240), desk)
    page.paste(Image.fromarray(sheet), (120, 120))
    return np.asarray(page.rotate(angle, Image.Resampling.BICUBIC, fillcolor=desk))


def test_number_on_white_paper_on_a_dark_desk_is_read() -> None:
    sheet = number("2683", margin=60)
    assert read(_on_desk(sheet, 35)) == ("2683",)
    assert read(_on_desk(sheet, 35, angle=8)) == ("2683",)


def test_picture_without_a_desk_has_no_sheet() -> None:
    assert isolate_sheet(number("2683", margin=60)) is None
    gradient = np.tile(np.linspace(40, 230, 400).astype(np.uint8), (300, 1))
    assert isolate_sheet(gradient) is None


def test_sheet_of_few_rows_is_none() -> None:
    page = np.full((64, 456), 30, np.uint8)
    page[25:39, 20:436] = 220
    assert isolate_sheet(page) is None
    assert CLASSIFIER.read(page).lines == ()


def _in_shadow(page: np.ndarray, first: float) -> np.ndarray:
    """Darken a page beyond a diagonal that begins at a share `first` of its width."""
    height, width = page.shape
    rows, columns = np.indices(page.shape)
    beyond = columns / width + 0.5 * rows / height > first
    return np.where(beyond, page * 0.55, page).astype(np.uint8)


@pytest.mark.parametrize(("text", "first"), [("47352683", 1.05), ("5372", 0.9), ("2734", 0.6)])
def test_digits_beside_the_edge_of_a_shadow_are_read(text: str, first: float) -> None:
    page = paper(np.pad(number(text, margin=20), ((220, 220), (60, 60))))
    assert CLASSIFIER.read(_in_shadow(page, first)).lines == (text,)


def test_light_without_a_sharp_edge_is_not_evened() -> None:
    page = paper(np.pad(number("47352683", margin=20), 200))
    assert flatten_illumination(page, 70) is None
    vignette = np.linspace(1, 0.5, page.shape[1])
    assert flatten_illumination((page * vignette).astype(np.uint8), 70) is None
    evened = flatten_illumination(_in_shadow(page, 0.9), 70)
    assert evened is not None
    assert np.ptp(np.quantile(evened, (0.3, 0.9))) < 20


def test_slope_of_rules_is_found_and_boxes_are_turned_back() -> None:
    page = np.full((400, 600), 220, np.uint8)
    for slope in (-0.1, 0.06):
        ruled = page.copy()
        columns = np.arange(600)
        for row in (80, 160, 240, 320):
            rows = np.rint(row + slope * (columns - 300)).astype(int)
            ruled[rows, columns] = ruled[rows + 1, columns] = 120
        found = find_skew(ruled)
        assert abs(found - slope) < 0.01
        assert np.ptp(np.nonzero(deskew(ruled, slope)[:, ::50] < 200)[0]) <= 242
        left, top, right, bottom = skew_box((290, 190, 310, 210), slope, page.shape)
        assert left <= 291
        assert top <= 191
        assert right >= 309
        assert bottom >= 209
    assert find_skew(page) == 0.0


def test_page_of_thousands_of_bars_is_refused_without_comparing_them() -> None:
    page = np.full((1500, 1500), 230, np.uint8)
    for row in range(10, 1480, 14):
        page[row : row + 11, 10:1490:8] = page[row : row + 11, 11:1490:8] = 30
    components = find_components(page < 128, (230 - page).astype(np.float32))
    assert components is not None
    assert len(components.mass) > 15_000
    assert not find_bars(components, 11.0).any()
