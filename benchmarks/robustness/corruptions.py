"""Corruptions of test images, in MNIST's form before and after, each at five strengths."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels

Floats = npt.NDArray[np.float32]
Apply = Callable[[Pixels, float, np.random.Generator], Pixels]

# Images worked on at once: the planes of some hundred fit in a processor's cache.
_CHUNK = 250
# Points a side into which a pixel is divided where strokes grow by parts of a pixel; twice as
# many where a disk's radius would else fall between two.
_FINE = 4
# Eight ways to shift: along either axis or along both.
_WAYS = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y])


@dataclass(frozen=True)
class BenchmarkCorruption:
    """One way to spoil an image.

    Attributes:
        name: what it is called.
        unit: what its strengths are measured in, with {} where the figure stands.
        strengths: five, the mildest first; the third is the one that targets are set for.
        apply: (pixels (N, 28, 28, 1) uint8, strength, random) → as many corrupted ones.
        settings: what `train.augment` or `train.corrupt` calls it; it was used in training where
            one of these, or a setting whose name begins with one, is not 0.
    """

    name: str
    unit: str
    strengths: tuple[float, float, float, float, float]
    apply: Apply
    settings: tuple[str, ...]

    def corrupt(self, pixels: Pixels, step: int, seed: int) -> Pixels:
        """Pixels (N, 28, 28, 1) uint8 at strength number `step`; the same seed, the same ones."""
        random = np.random.default_rng([seed, zlib.crc32(self.name.encode()), step])
        return self.apply(pixels, self.strengths[step], random)


def shift(pixels: Pixels, distance_px: float, random: np.random.Generator) -> Pixels:
    """Shift by whole pixels, in one of eight ways: along either axis or along both."""
    offsets = _WAYS[random.integers(len(_WAYS), size=len(pixels))] * round(distance_px)
    size, reach = pixels.shape[1], round(distance_px)
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    rows = np.arange(size) + reach - offsets[:, :1]
    columns = np.arange(size) + reach - offsets[:, 1:]
    return padded[np.arange(len(pixels))[:, None, None], rows[:, :, None], columns[:, None, :]]


def rotate(pixels: Pixels, angle_degrees: float, random: np.random.Generator) -> Pixels:
    """Rotate about the middle, either way."""
    angles = np.radians(angle_degrees) * _signs(pixels, random)
    cos, sin = np.cos(angles), np.sin(angles)
    return _affine(pixels, np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2))


def scale(pixels: Pixels, factor: float, random: np.random.Generator) -> Pixels:
    """Scale about the middle."""
    return _affine(pixels, np.tile(np.eye(2) / factor, (len(pixels), 1, 1)))


def shear(pixels: Pixels, tangent: float, random: np.random.Generator) -> Pixels:
    """Slant upright lines, either way."""
    matrices = np.tile(np.eye(2), (len(pixels), 1, 1))
    matrices[:, 1, 0] = tangent * _signs(pixels, random)
    return _affine(pixels, matrices)


def blur(pixels: Pixels, sigma_px: float, random: np.random.Generator) -> Pixels:
    """Convolve with a Gaussian; around the image is background."""
    reach = int(np.ceil(4 * sigma_px))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    size = pixels.shape[1]
    # Both passes as matrix products: column j of the band matrix is the kernel around j.
    apart = np.arange(size)[:, None] - np.arange(size) + reach
    inside = (apart >= 0) & (apart <= 2 * reach)
    band = np.where(inside, taps[np.clip(apart, 0, 2 * reach)], 0) / taps.sum()
    band = band.astype(np.float32)
    return _to_uint8((band @ pixels[..., 0].astype(np.float32) @ band)[..., None])


def add_noise(pixels: Pixels, sigma: float, random: np.random.Generator) -> Pixels:
    """Add Gaussian noise to each pixel; `sigma` as a share of full scale."""
    noise = random.standard_normal(pixels.shape, np.float32)
    return _to_uint8(pixels + np.float32(255 * sigma) * noise)


def lower_contrast(pixels: Pixels, factor: float, random: np.random.Generator) -> Pixels:
    """Draw values towards the image's mean, the way ImageNet-C and Pillow define contrast.

    Hendrycks and Dietterich, "Benchmarking Neural Network Robustness" (2019). The background
    turns gray, as it does where a camera sees haze.
    """
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
    return _to_uint8(mean + np.float32(factor) * (pixels - mean))


def raise_brightness(pixels: Pixels, offset: float, random: np.random.Generator) -> Pixels:
    """Add to each pixel; `offset` as a share of full scale."""
    return _to_uint8(pixels + np.float32(255 * offset))


def thicken(pixels: Pixels, growth_px: float, random: np.random.Generator) -> Pixels:
    """Widen strokes by `growth_px`, half of it on either side."""
    return _morph(pixels, growth_px, np.maximum)


def thin(pixels: Pixels, loss_px: float, random: np.random.Generator) -> Pixels:
    """Narrow strokes by `loss_px`, half of it on either side."""
    return _morph(pixels, loss_px, np.minimum)


def occlude(pixels: Pixels, side_px: float, random: np.random.Generator) -> Pixels:
    """Blank a square patch whose middle is a pixel of the ink, drawn at random."""
    size, side = pixels.shape[1], round(side_px)
    draws = np.where(pixels[..., 0] > 127, random.random(pixels.shape[:3]), -1.0)
    middles = draws.reshape(len(pixels), -1).argmax(axis=1)
    top, left = (middle - side // 2 for middle in np.divmod(middles, size))
    at = np.arange(size)
    rows = (at >= top[:, None]) & (at < top[:, None] + side)
    columns = (at >= left[:, None]) & (at < left[:, None] + side)
    patch = rows[:, :, None] & columns[:, None, :]
    return np.where(patch[..., None], np.uint8(0), pixels)


CORRUPTIONS = (
    BenchmarkCorruption("shift", "{:g} px", (1, 2, 3, 4, 5), shift, ("shift",)),
    BenchmarkCorruption("rotation", "{:g}°", (10, 15, 20, 30, 40), rotate, ("rotation",)),
    BenchmarkCorruption("smaller", "× {:g}", (0.9, 0.82, 0.75, 0.65, 0.5), scale, ("scale",)),
    BenchmarkCorruption("larger", "× {:g}", (1.1, 1.18, 1.25, 1.35, 1.5), scale, ("scale",)),
    BenchmarkCorruption("shear", "{:g}", (0.1, 0.2, 0.3, 0.45, 0.6), shear, ("shear",)),
    BenchmarkCorruption("blur", "σ {:g} px", (0.5, 0.8, 1.2, 1.6, 2.0), blur, ("blur",)),
    BenchmarkCorruption("noise", "σ {:g}", (0.05, 0.1, 0.2, 0.3, 0.4), add_noise, ("noise",)),
    BenchmarkCorruption(
        "contrast", "× {:g}", (0.7, 0.5, 0.3, 0.2, 0.1), lower_contrast, ("contrast",)
    ),
    BenchmarkCorruption(
        "brightness", "+ {:g}", (0.1, 0.2, 0.3, 0.4, 0.5), raise_brightness, ("brightness",)
    ),
    BenchmarkCorruption(
        "thick strokes", "+ {:g} px", (0.5, 0.75, 1, 1.5, 2), thicken, ("stroke", "thick", "width")
    ),
    BenchmarkCorruption(
        "thin strokes", "− {:g} px", (0.5, 0.75, 1, 1.5, 2), thin, ("stroke", "thin", "width")
    ),
    BenchmarkCorruption(
        "occlusion", "{:g} px", (4, 6, 8, 10, 12), occlude, ("occlusion", "erase", "patch")
    ),
)


def _signs(pixels: Pixels, random: np.random.Generator) -> npt.NDArray[np.int64]:
    return random.integers(2, size=len(pixels)) * 2 - 1


def _affine(pixels: Pixels, matrices: npt.NDArray[np.float64]) -> Pixels:
    """Read each image, bilinearly, at matrix · (row, column) about its middle.

    Args:
        matrices: (N, 2, 2), from a place in the result to the place in `pixels`.
    """
    size = pixels.shape[1]
    at = np.arange(size) - (size - 1) / 2
    grid = np.stack(np.meshgrid(at, at, indexing="ij")).reshape(2, -1)
    # One background pixel all round: what is read outside of an image is background.
    padded = np.pad(pixels[..., 0], ((0, 0), (1, 1), (1, 1))).astype(np.float32)
    stride = size + 2
    result = np.empty_like(pixels)
    for start in range(0, len(pixels), _CHUNK):
        images = padded[start : start + _CHUNK].reshape(-1, stride * stride)
        places = matrices[start : start + _CHUNK] @ grid + (size + 1) / 2
        places = np.clip(places, 0, size + 0.999)
        low = places.astype(np.int64)
        down, right = (places - low).astype(np.float32).transpose(1, 0, 2)
        corner = low[:, 0] * stride + low[:, 1]
        first, second, third, fourth = (
            np.take_along_axis(images, corner + step, axis=1) for step in (0, 1, stride, stride + 1)
        )
        upper, lower = first + right * (second - first), third + right * (fourth - third)
        read = upper + down * (lower - upper)
        result[start : start + _CHUNK] = _to_uint8(read.reshape(-1, size, size, 1))
    return result


def _morph(pixels: Pixels, change_px: float, extreme: np.ufunc) -> Pixels:
    """Gray dilation or erosion by a disk, each pixel divided in points to allow for parts of one.

    As Morpho-MNIST (Castro et al., 2019) does it on binary images four times as large.
    """
    points = _FINE if (_FINE * change_px / 2).is_integer() else 2 * _FINE
    radius = points * change_px / 2
    reach = int(radius)
    result = np.empty_like(pixels)
    n, size = len(pixels), pixels.shape[1] * points
    for start in range(0, n, _CHUNK):
        fine = pixels[start : start + _CHUNK, :, :, 0].repeat(points, 1).repeat(points, 2)
        padded = np.pad(fine, ((0, 0), (reach, reach), (reach, reach)))
        grown = fine.copy()
        for down in range(-reach, reach + 1):
            # Half a point more, so that the disk is round on the grid of points.
            across = int(np.sqrt(max(0.0, (radius + 0.5) ** 2 - down**2)))
            across = min(across, reach)
            rows = padded[:, reach + down : reach + down + size]
            for right in range(-across, across + 1):
                extreme(grown, rows[:, :, reach + right : reach + right + size], out=grown)
        parts = grown.reshape(len(grown), size // points, points, size // points, points)
        shares = parts.mean(axis=(2, 4), dtype=np.float32)
        result[start : start + _CHUNK] = _to_uint8(shares[..., None])
    return result


def _to_uint8(values: Floats) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
