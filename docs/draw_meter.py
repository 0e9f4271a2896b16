"""Draws the wheels of a mechanical meter, as a camera above it sees them, for docs/meter.md.

    python docs/draw_meter.py FOLDER [IMAGES_PER_CLASS]

Each image is a color crop of one wheel, 20 pixels wide and 32 high, in the folder of its class: 0
to 9 if one digit fills the window, otherwise "between", while the wheel rolls to the next digit.
Wheels are black, white or red, and are shown in uneven light, out of focus and a little off center.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

BETWEEN = "between"
CLASSES = (*map(str, range(10)), BETWEEN)
WIDTH_PX = 20  # of the crop of one wheel
HEIGHT_PX = 32
_SCALE = 4  # drawn this much larger, then reduced
_STEP = 0.95  # of the window's height: distance from one digit to the next
_MAX_OFFSET = 0.14  # of a step; a digit that is further off center is "between" two digits
_BETWEEN_OFFSETS = (0.32, 0.68)  # of a step
# Colors of the wheel and of its digits.
_WHEELS = (((25, 25, 28), (230, 230, 225)), ((225, 222, 215), (30, 30, 35)),
           ((165, 30, 30), (240, 235, 230)))  # fmt: skip
_IMAGES_PER_CLASS = 200


def wheel(position: float, random: np.random.Generator) -> Image.Image:
    """Draw the window above a wheel.

    Args:
        position: digit in the center of the window, from 0 to below 10; 3.5 is half 3 and half 4.
        random: source of the colors, the light and the noise.

    Returns:
        An RGB image of 20 x 32 pixels.
    """
    width, height = WIDTH_PX * _SCALE, HEIGHT_PX * _SCALE
    background, ink = _WHEELS[random.integers(len(_WHEELS))]
    window = Image.new("RGB", (width, height), background)
    pen = ImageDraw.Draw(window)
    font = ImageFont.load_default(round(height * random.uniform(0.66, 0.82)))
    x = width * (0.5 + random.uniform(-0.07, 0.07))
    y = height * (0.5 + random.uniform(-0.04, 0.04))
    for digit in range(int(position) - 1, int(position) + 3):
        offset = (digit - position) * height * _STEP
        pen.text((x, y + offset), str(digit % 10), ink, font, anchor="mm")
    window = window.rotate(random.uniform(-3, 3), Image.Resampling.BILINEAR, fillcolor=background)
    window = window.filter(ImageFilter.GaussianBlur(_SCALE * random.uniform(0.1, 0.8)))
    levels = np.asarray(window.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BOX), np.float64)
    rows, columns = np.linspace(-1, 1, HEIGHT_PX), np.linspace(-1, 1, WIDTH_PX)
    light = 1 + random.uniform(-0.25, 0.25) * rows[:, None] + random.uniform(-0.2, 0.2) * columns
    tint = random.uniform(0.85, 1.1, 3) * random.uniform(0.6, 1.1)
    levels = levels * light[..., None] * tint + random.uniform(0, 30)
    levels += random.normal(0, random.uniform(1, 7), levels.shape)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def draw(folder: Path, images_per_class: int, seed: int = 0) -> None:
    """Write a folder of images for each class."""
    random = np.random.default_rng(seed)
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(images_per_class):
            if label == BETWEEN:
                position = random.integers(10) + random.uniform(*_BETWEEN_OFFSETS)
            else:
                position = (int(label) + random.uniform(-_MAX_OFFSET, _MAX_OFFSET)) % 10
            wheel(position, random).save(folder / label / f"{number:04}.png")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else _IMAGES_PER_CLASS)
