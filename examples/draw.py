"""Draws the pictures in this folder: digits as people photograph, scan and screenshot them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Strokes on a unit square, x to the right and y down.
SEVEN = [
    [(0.2, 0.18), (0.5, 0.2), (0.82, 0.16), (0.62, 0.48), (0.46, 0.88)],
    [(0.4, 0.55), (0.72, 0.5)],
]
THREE = [
    [(0.25, 0.2), (0.5, 0.1), (0.75, 0.25), (0.66, 0.43), (0.45, 0.48)],
    [(0.45, 0.48), (0.72, 0.55), (0.77, 0.74), (0.55, 0.9), (0.24, 0.82)],
]
FIVE = [
    [(0.75, 0.14), (0.35, 0.16), (0.32, 0.46), (0.55, 0.43)],
    [(0.55, 0.43), (0.75, 0.58), (0.68, 0.82), (0.42, 0.9), (0.24, 0.8)],
]


def strokes(lines, size, box, width):
    """Ink from 0 to 1, of shape (height, width): `lines` drawn as smooth curves into `box`."""
    left, top, right, bottom = box
    picture = Image.new("L", size)
    draw = ImageDraw.Draw(picture)
    for line in lines:
        at = np.linspace(0, len(line) - 1, 60)
        points = np.array(line)
        # Three passes of a moving average turn the corners into curves.
        curve = np.stack([np.interp(at, range(len(line)), points[:, axis]) for axis in (0, 1)], 1)
        for _ in range(3):
            curve[2:-2] = sum(np.roll(curve, shift, axis=0) for shift in range(-2, 3))[2:-2] / 5
        xy = curve * (right - left, bottom - top) + (left, top)
        fine = [np.linspace(start, end, 12) for start, end in pairwise(xy)]
        for x, y in np.concatenate(fine):
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(width / 12)), np.float32) / 255


def main() -> None:
    """Write the three pictures beside this file."""
    folder = Path(__file__).parent
    noise = np.random.default_rng(0)
    # A marker on paper, photographed in the light of a window, with a shadow.
    y, x = np.mgrid[0:900, 0:1200].astype(np.float32)
    light = 205 - 70 * x / 1200 - 30 * y / 900 - 45 / (1 + np.exp((y + 0.4 * x - 620) / 25))
    ink = strokes(SEVEN, (1200, 900), (420, 190, 810, 700), 34)[..., None]
    paper = light[..., None] * (1, 0.97, 0.9)
    photo = paper * (1 - ink) + ink * (38, 46, 92) + noise.normal(0, 5, paper.shape)
    Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / "photo.jpg", quality=82)
    # A pencil on squared paper, scanned.
    page = np.full((420, 420), 244, np.float32)
    page[20::40] = page[:, 20::40] = 205
    scan = page * (1 - 0.68 * strokes(FIVE, (420, 420), (125, 95, 290, 330), 9))
    scan += noise.normal(0, 3, page.shape)
    Image.fromarray(scan.clip(0, 255).astype(np.uint8)).save(folder / "scan.png", optimize=True)
    # Drawn with a finger on a dark screen.
    screen = 24 + 226 * strokes(THREE, (280, 280), (70, 50, 210, 230), 20)
    Image.fromarray(screen.clip(0, 255).astype(np.uint8)).save(folder / "screen.png", optimize=True)


if __name__ == "__main__":
    main()
