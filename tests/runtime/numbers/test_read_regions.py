"""Reading regions: joined digits, decimals, uncertain places, large images."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier
from runtime.numbers.options import NumberOptions
from runtime.numbers.read_regions import NumberReader, RegionError, cut
from runtime.numbers.regions import name_regions, parse_region
from runtime.preprocess.decode import decode_color


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load()


def record(classifier, image, *regions: str, **options) -> dict:
    """Return the record of the only number."""
    named = name_regions([parse_region(region) for region in regions])
    reader = NumberReader(NumberOptions(named, **{"one_number": True, **options}))
    (reading,) = reader.read(classifier, image)
    return reader.record(reader.check(reading))


# The places of five digits that `meter` draws.
WHEELS = [f"{20 + 56 * wheel},14,56,68" for wheel in range(5)]


def test_digits_of_all_regions_are_joined_to_one_number(classifier, meter):
    joined = record(classifier, np.asarray(meter("20461")), *WHEELS, join=True, decimals=2)
    assert (joined["region"], joined["text"], joined["value"]) == ("number", "20461", 204.61)
    assert 0.5 < joined["confidence"] <= 1


def test_wheel_that_is_not_a_digit_rejects_the_joined_number(classifier, meter):
    frame = np.asarray(meter("20461")).copy()
    frame[:, 20 + 56 * 4 :] = 235  # the last wheel is hidden
    joined = record(classifier, frame, *WHEELS, join=True)
    assert (joined["text"], joined["value"], joined["accepted"]) == ("2046?", None, False)
    assert joined["reason"] == "1 of 5 places not certain"


@pytest.mark.parametrize(
    ("decimals", "value"), [(0, 123), (1, 12.3), (3, 0.123), (5, 0.00123), (15, 1.23e-13)]
)
def test_decimal_point_is_put_before_the_last_digits(classifier, meter, decimals, value):
    read = record(classifier, np.asarray(meter("00123")), decimals=decimals)
    assert (read["text"], read["value"]) == ("00123", value)
    assert isinstance(read["value"], int) == (decimals == 0)


@pytest.mark.parametrize(
    ("texts", "options", "reason"),
    [
        (["20461"], {"digits": 6}, "5 digits, not 6"),
        (["20461", "62"], {}, "2 lines of digits; pass a region for each"),
        (["2046120461204612"], {}, "not a number of 1 to 15 digits"),
        ([""], {"digits": 1}, "no digits"),
    ],
)
def test_what_is_not_one_number_is_rejected_with_the_reason(
    classifier, meter, texts, options, reason
):
    frame = Image.new("RGB", (960, 220), (235, 235, 235))
    frame.paste(meter(*texts) if len(texts[0]) < 9 else wide(meter, texts[0]))
    read = record(classifier, np.asarray(frame), **options)
    assert (read["value"], read["accepted"], read["reason"]) == (None, False, reason)


def wide(meter, text: str) -> Image.Image:
    """Draw a number that is too long for one display, half by half."""
    page = Image.new("RGB", (960, 110), (235, 235, 235))
    for half in (0, 1):
        part = meter(text[8 * half : 8 * half + 8]).crop((20, 0, 20 + 8 * 56, 110))
        page.paste(part, (20 + half * 8 * 56, 0))
    return page


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "I;16"])
def test_regions_are_those_of_the_upright_image(meter, orientation, mode):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    page = meter("20461", "62")
    page.putpixel((0, 0), (0, 0, 0))  # not all corners are alike
    if mode == "I;16":
        page = Image.fromarray(np.asarray(page)[:, :, 0].astype(np.uint16) * 257)
    page.convert(mode).save(file, "PNG", exif=exif)
    whole = decode_color(file.getvalue(), longest=1000).rgb
    height, width = whole.shape[:2]
    regions = name_regions([parse_region("3,110,100,90"), parse_region("50%,0%,50%,50%")])
    for region, box, part in cut(file.getvalue(), regions):
        left, top, right, bottom = box
        assert box == region.box(width, height)
        if mode != "I;16":  # its gray levels depend on the range of values
            np.testing.assert_array_equal(part, whole[top:bottom, left:right])


def test_region_of_a_large_image_is_found_in_the_scaled_copy(classifier, meter, tmp_path):
    page = Image.new("RGB", (6000, 4500), (235, 235, 235))
    page.paste(meter("20461").resize((1440, 330)), (4000, 4000))
    page.save(tmp_path / "page.jpg", quality=95)
    read = record(classifier, tmp_path / "page.jpg", "4000,4000,1440,330")
    assert read["value"] == 20461
    with pytest.raises(RegionError, match=r"page.jpg: --region .* image of 6000x4500 pixels"):
        record(classifier, tmp_path / "page.jpg", "4000,4000,2001,330")


def test_region_with_too_much_ink_is_rejected_and_ends_nothing(classifier):
    noise = np.random.default_rng(0).integers(0, 2, (800, 1200, 1)) * 255
    frame = np.repeat(noise, 3, axis=2).astype(np.uint8)
    read = record(classifier, frame, "0%,0%,100%,100%")
    assert (read["value"], read["accepted"]) == (None, False)
    assert read["reason"]
    assert not math.isnan(read["confidence"])


def test_model_of_letters_gives_text_but_no_number(classifier, meter, monkeypatch):
    monkeypatch.setattr(classifier, "_labels", tuple("ABCDEFGHIJ"))
    letters = record(classifier, np.asarray(meter("20461")), one_number=False)
    assert letters["value"] is None
    number = record(classifier, np.asarray(meter("20461")))
    assert (number["value"], number["accepted"]) == (None, False)
