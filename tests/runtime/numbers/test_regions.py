"""--region: forms of the option, names, and the box in an image."""

import argparse

import pytest

from runtime.errors import EdgeError
from runtime.numbers.regions import MAX_REGIONS, Region, name_regions, parse_region


@pytest.mark.parametrize(
    ("text", "size", "box"),
    [
        ("0,0,640,480", (640, 480), (0, 0, 640, 480)),
        ("main=10,20,30,40", (640, 480), (10, 20, 40, 60)),
        ("0%,0%,100%,100%", (641, 479), (0, 0, 641, 479)),
        ("10%,50%,25%,12.5%", (640, 480), (64, 240, 224, 300)),
        ("0.1%,0.1%,99.9%,99.9%", (1000, 1000), (1, 1, 1000, 1000)),
        ("99.9%,0%,0.1%,100%", (3, 3), (2, 0, 3, 3)),
    ],
)
def test_region_becomes_a_box_in_pixels(text, size, box):
    assert parse_region(text).box(*size) == box


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3", "1,2,3,4,5", "", "a,b,c,d", "1,2,3,4%", "1.5,2,3,4", "-1,0,2,2", "0,0,0,5",
        "0,0,5,-1", "nan%,1%,1%,1%", "5%,nan%,1%,1%", "inf%,0%,1%,1%", "60%,0%,50%,10%",
        "0%,0%,100.5%,1%", "0,0,1e3,5", f"0,0,{10**30},5", "=0,0,5,5", "a b=0,0,5,5",
        "a/b=0,0,5,5", "+=0,0,5,5", "error=0,0,5,5", "availability=0,0,5,5", "größe=0,0,5,5",
        f"{'x' * 41}=0,0,5,5", "$(reboot)=0,0,5,5", "-rf=0,0,5,5", "a=b=0,0,5,5",
    ],
)  # fmt: skip
def test_invalid_region_is_rejected(text):
    with pytest.raises(argparse.ArgumentTypeError):
        parse_region(text)


@pytest.mark.parametrize("text", ["0,0,641,480", "600,0,41,10", "0,479,1,2"])
def test_region_outside_the_image_is_an_error(text):
    with pytest.raises(EdgeError, match=r"--region .* is not inside the image of 640x480 pixels"):
        parse_region(text).box(640, 480)


def test_regions_without_a_name_are_numbered():
    unnamed, named = parse_region("0,0,1,1"), parse_region("flow=0,0,1,1")
    assert [each.name for each in name_regions([unnamed])] == ["number"]
    names = [each.name for each in name_regions([unnamed, named, unnamed])]
    assert names == ["number1", "flow", "number3"]


def test_regions_with_the_same_name_and_too_many_regions_are_rejected():
    region = parse_region("flow=0,0,1,1")
    with pytest.raises(EdgeError, match="two regions are named flow"):
        name_regions([region, region])
    with pytest.raises(EdgeError, match="more than"):
        name_regions([parse_region("0,0,1,1")] * (MAX_REGIONS + 1))


def test_region_is_shown_as_it_is_written():
    assert str(parse_region("flow=1,2,3,4")) == "flow=1,2,3,4"
    assert str(Region("flow", 1.5, 2, 3, 4, True)) == "flow=1.5%,2%,3%,4%"
