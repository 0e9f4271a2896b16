"""Grey planes of a decoded picture: its luminance, or the axis along which its colours differ."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Grey: TypeAlias = npt.NDArray[np.uint8]


def fit(image: Image.Image, longest: int) -> Image.Image:
    """The image, its longest side reduced to at most `longest` pixels."""
    width, height = image.size
    if max(width, height) <= longest:
        return image
    ratio = longest / max(width, height)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def luminance(image: Image.Image, longest: int) -> Grey:
    """Luminance, uint8 (height, width) of at most `longest`; transparent ones: `_composite`."""
    mode = image.mode
    if mode == "L" and "transparency" not in image.info:
        return np.asarray(fit(image, longest))
    if mode in ("I", "F") or mode.startswith("I;"):
        return np.asarray(fit(Image.fromarray(to_uint8(np.asarray(image))), longest))
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        if mode not in ("LA", "RGBA"):
            image = image.convert("LA" if mode == "La" else "RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            return _composite(np.asarray(fit(image.convert("LA"), longest)))
    if mode in ("LAB", "YCbCr"):
        image = image.getchannel(0)
    elif mode == "HSV":
        image = image.convert("RGB")
    return np.asarray(fit(image.convert("L"), longest))


def _composite(pair: Grey) -> Grey:
    """Lay a transparent image, (height, width, 2) luminance and alpha, over a ground.

    A picture with its own ground keeps it: most of it is opaque and holds light and dark, so the
    rest is filled with its median. A bare drawing is laid over the ground it contrasts with:
    white under dark ink, black under light ink.
    """
    light = pair[..., 0].astype(np.float32)
    alpha = pair[..., 1].astype(np.float32) / 255
    seen = light[alpha > 0.5]
    if seen.size == 0:
        ground = 255.0
    elif seen.size > 0.5 * alpha.size and np.ptp(np.percentile(seen, (2, 98))) > 48:
        ground = float(np.median(seen))
    else:
        ground = 255.0 if seen.mean() < 128 else 0.0
    return np.rint(light * alpha + ground * (1 - alpha)).astype(np.uint8)


def principal_axis(image: Image.Image, longest: int) -> Grey:
    """Grey along the axis on which the colours vary most, for ink as light as its paper."""
    small = np.asarray(fit(image.convert("RGB"), longest)).astype(np.float32)
    colours = small.reshape(-1, 3) - small.reshape(-1, 3).mean(axis=0)
    axis = np.linalg.eigh(colours.T @ colours)[1][:, -1]
    values = (colours @ axis).reshape(small.shape[:2])
    grey: Grey = np.clip(np.rint(values + (128 - np.median(values))), 0, 255).astype(np.uint8)
    return grey


def to_uint8(values: npt.NDArray[Any]) -> Grey:
    """Scale numbers without a declared depth: full scale is the usual one that holds them."""
    values = np.nan_to_num(values.astype(np.float32))
    values -= min(float(values.min()), 0.0)
    high = float(values.max())
    full = next((scale for scale in (1, 255, 4095, 65535) if high <= scale), high)
    grey: Grey = np.rint(values * np.float32(255 / full)).astype(np.uint8)
    return grey
