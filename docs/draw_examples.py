"""Draw the images in examples/. None of them is a real photograph, scan or screenshot.

The command `python docs/draw_examples.py` writes photo.jpg (7), drawn with the light, shadow and
noise of a photograph, scan.png (5) with the squared paper of a scan, and screen.png (3) with the
colors of a dark screen.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# A digit is a list of strokes. A stroke is a list of points (x, y) in the unit square, y downwards.
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


def draw_strokes(strokes, size, box, width):
    """Draw strokes as smooth curves.

    Args:
        strokes: a digit, such as `SEVEN`.
        size: (width, height) of the image in pixels.
        box: (left, top, right, bottom) in pixels, to which the unit square is scaled.
        width: stroke width in pixels.

    Returns:
        Ink, float32 (height, width), 0 to 1.
    """
    left, top, right, bottom = box
    image = Image.new("L", size)
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        t = np.linspace(0, len(stroke) - 1, 60)
        points = np.array(stroke)
        # Three passes of a moving average over 5 points round the corners.
        curve = np.stack([np.interp(t, range(len(stroke)), points[:, axis]) for axis in (0, 1)], 1)
        for _ in range(3):
            curve[2:-2] = sum(np.roll(curve, shift, axis=0) for shift in range(-2, 3))[2:-2] / 5
        xy = curve * (right - left, bottom - top) + (left, top)
        centers = [np.linspace(start, end, 12) for start, end in pairwise(xy)]
        for x, y in np.concatenate(centers):
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(width / 12)), np.float32) / 255


def main() -> None:
    """Write the three images into examples/."""
    folder = Path(__file__).parents[1] / "examples"
    noise = np.random.default_rng(0)
    # As if a marker on paper was photographed: light falls off to the right, and a shadow crosses
    # the paper.
    y, x = np.mgrid[0:900, 0:1200].astype(np.float32)
    light = 205 - 70 * x / 1200 - 30 * y / 900 - 45 / (1 + np.exp((y + 0.4 * x - 620) / 25))
    ink = draw_strokes(SEVEN, (1200, 900), (420, 190, 810, 700), 34)[..., None]
    paper = light[..., None] * (1, 0.97, 0.9)
    photo = paper * (1 - ink) + ink * (38, 46, 92) + noise.normal(0, 5, paper.shape)
    Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / "photo.jpg", quality=82)
    # As if a pencil on squared paper was scanned.
    page = np.full((420, 420), 244, np.float32)
    page[20::40] = page[:, 20::40] = 205
    scan = page * (1 - 0.68 * draw_strokes(FIVE, (420, 420), (125, 95, 290, 330), 9))
    scan += noise.normal(0, 3, page.shape)
    Image.fromarray(scan.clip(0, 255).astype(np.uint8)).save(folder / "scan.png", optimize=True)
    # As if a finger drew on a dark screen.
    screen = 24 + 226 * draw_strokes(THREE, (280, 280), (70, 50, 210, 230), 20)
    Image.fromarray(screen.clip(0, 255).astype(np.uint8)).save(folder / "screen.png", optimize=True)


if __name__ == "__main__":
    main()
