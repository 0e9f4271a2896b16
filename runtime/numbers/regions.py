"""The regions of interest of an image: the option `--region [NAME=]X,Y,W,H`.

`runtime.numbers.options` parses them, and `runtime.numbers.read_regions` reads a number in each.
"""

import argparse
import math
import re
from dataclasses import dataclass, replace

from runtime.errors import EdgeError

WHOLE_IMAGE = "number"  # name of the only region if there is no option --region
MAX_REGIONS = 32  # each takes as long to read as a small image

# A name is a level of an MQTT topic, and an argument of commands that must not be an option.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}")
_RESERVED = ("availability", "error")  # other topics below the one that the user chose
_MAX_SIDE_PX = 65_535  # of an image that can be decoded
_FORM = "[NAME=]X,Y,W,H, in pixels or, with % behind each of them, in percent"


@dataclass(frozen=True)
class Region:
    """A rectangle in an image.

    Attributes:
        name: of its number.
        left: in pixels of the upright image, or in percent of its width.
        top: in pixels, or in percent of the height.
        width: in pixels, or in percent of the image's width.
        height: in pixels, or in percent of the image's height.
        is_percent: whether the numbers are percentages.
    """

    name: str
    left: float
    top: float
    width: float
    height: float
    is_percent: bool

    def __str__(self) -> str:
        unit = "%" if self.is_percent else ""
        sides = (self.left, self.top, self.width, self.height)
        return f"{self.name}={','.join(f'{side:g}{unit}' for side in sides)}"

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom) in pixels of an image; right and bottom are exclusive.

        Args:
            width: of the image, in pixels.
            height: of the image, in pixels.

        Raises:
            EdgeError: the region is not inside the image.
        """
        x, y = (width / 100, height / 100) if self.is_percent else (1.0, 1.0)
        left, top = math.floor(self.left * x), math.floor(self.top * y)
        right = math.ceil((self.left + self.width) * x)
        bottom = math.ceil((self.top + self.height) * y)
        if self.is_percent:  # a sum such as 0.1 + 99.9 may be rounded to more than 100
            right, bottom = min(right, width), min(bottom, height)
        if right > width or bottom > height:
            raise EdgeError(
                f"--region {self} is not inside the image of {width}x{height} pixels: pass a "
                "smaller X,Y,W,H, or percentages such as 10%,20%,50%,15%"
            )
        return left, top, right, bottom


def parse_region(text: str) -> Region:
    """Parse the value of `--region`; the name is empty if there is none.

    Raises:
        argparse.ArgumentTypeError: the text has another form, or the region is empty or not inside
            the image.
    """
    name, separator, place = text.rpartition("=")
    if separator and not _NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"{text!r}: the name is not 1 to 40 letters without accents, digits, _ and -, or it "
            "begins with -"
        )
    if name in _RESERVED:
        raise argparse.ArgumentTypeError(f"{text!r}: {name} is a topic of MQTT; use another name")
    parts = [part.strip() for part in place.split(",")]
    percent = [part.endswith("%") for part in parts]
    try:
        left, top, width, height = (
            float(part.removesuffix("%")) if all(percent) else int(part) for part in parts
        )
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not {_FORM}") from None
    sides = (left, top, width, height)
    if not all(map(math.isfinite, sides)) or min(left, top) < 0 or min(width, height) <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a region: pass X,Y from 0, and W,H greater than 0"
        )
    if max(sides) > _MAX_SIDE_PX:
        raise argparse.ArgumentTypeError(f"{text!r}: no image has so many pixels")
    if all(percent) and max(left + width, top + height) > 100:
        raise argparse.ArgumentTypeError(f"{text!r}: the region ends beyond 100 % of the image")
    return Region(name, left, top, width, height, all(percent))


def name_regions(regions: list[Region]) -> tuple[Region, ...]:
    """Name the regions without a name: `number`, or number1, number2, … if there are several.

    Raises:
        EdgeError: two regions have the same name, or there are too many regions.
    """
    if len(regions) > MAX_REGIONS:
        raise EdgeError(f"--region: {len(regions)} regions are more than {MAX_REGIONS}")
    named: list[Region] = []
    for place, region in enumerate(regions, 1):
        name = region.name or (WHOLE_IMAGE if len(regions) == 1 else f"{WHOLE_IMAGE}{place}")
        if name in {other.name for other in named}:
            raise EdgeError(f"--region: two regions are named {name}; use another name")
        named.append(replace(region, name=name))
    return tuple(named)
