"""Corrupts test images in the ways of `CORRUPTIONS`, for the robustness benchmark.

Used by `benchmarks.robustness.run`.

Each public function takes images, a strength, and a random generator. Images are (N, 28, 28, 1)
uint8 in MNIST's form: 0 is background, 255 is ink. The result has the same shape and dtype. Pixels
moved in from outside the image are background. The same seed gives the same pixels.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels
from runtime.preprocess.form import INK, MNIST_FORM, PHOTO, Form

Floats = npt.NDArray[np.float32]  # gray levels before rounding, (N, height, width, 1)
# (pixels (N, 28, 28, 1) uint8, strength, random) → corrupted pixels of the same shape.
Apply = Callable[[Pixels, float, np.random.Generator], Pixels]

# Images processed at once. The arrays of more images do not fit in a processor's cache.
_CHUNK_IMAGES = 250
# Stroke widths are changed on a grid of 4×4 points per pixel. The grid is 8×8 if the radius of the
# disk is not a whole number of points.
_UPSAMPLING = 4
_INK_THRESHOLD = 127  # gray level; `occlude` counts brighter pixels as ink
# The eight directions of a shift as (rows, columns), (8, 2): along one axis, or along both.
_DIRECTIONS = np.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x])


@dataclass(frozen=True)
class BenchmarkCorruption:
    """One way to corrupt images.

    Attributes:
        name: its name in the report.
        unit: a format string that shows a strength with its unit, such as "{:g} px".
        strengths: five values for `apply`, from the mildest to the strongest. The targets of the
            benchmark are set for the third.
        apply: the function that corrupts pixels.
        settings: prefixes of the names of training settings. If a setting with such a prefix is
            not 0 in a model's recipe, the model was trained with this corruption.
    """

    name: str
    unit: str
    strengths: tuple[float, float, float, float, float]
    apply: Apply
    settings: tuple[str, ...]

    def corrupt(self, pixels: Pixels, step: int, seed: int, form: Form = MNIST_FORM) -> Pixels:
        """Return corrupted copies of the images, of the same shape.

        Strengths in pixels are for images whose shorter side is 28 pixels, and grow with it.

        Args:
            pixels: (N, *form.shape) uint8.
            step: the index of the strength, 0 to 4.
            seed: of the random numbers; the same seed gives the same result.
            form: the form of the pixels.
        """
        seeds = [seed, zlib.crc32(self.name.encode()), step]
        strength = self.strengths[step]
        if form == MNIST_FORM:
            return self.apply(pixels, strength, np.random.default_rng(seeds))
        if "px" in self.unit:
            strength *= min(form.size) / min(MNIST_FORM.size)
        if self.apply in _WITHOUT_EDGES:
            return self.apply(pixels, strength, np.random.default_rng(seeds))
        # The functions take square gray images with background around. A photograph gets a margin
        # that repeats its edges; all channels get the same random numbers.
        height, width, channels = form.shape
        side = 2 * max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        margins = ((0, 0), (top, side - height - top), (left, side - width - left), (0, 0))
        squares = np.pad(pixels, margins, "edge" if form.name == PHOTO else "constant")
        corrupted = [
            self.apply(squares[..., n : n + 1], strength, np.random.default_rng(seeds))
            for n in range(channels)
        ]
        return np.concatenate(corrupted, axis=3)[:, top : top + height, left : left + width]


def corruptions_of(form: Form) -> tuple[BenchmarkCorruption, ...]:
    """Return the corruptions that images of a form are measured with."""
    return tuple(c for c in CORRUPTIONS if form.name == INK or c.apply not in _OF_STROKES)


def shift(pixels: Pixels, distance_px: float, random: np.random.Generator) -> Pixels:
    """Shift in one of eight random directions: along one axis, or along both.

    `distance_px` is rounded to whole pixels.
    """
    directions = _DIRECTIONS[random.integers(len(_DIRECTIONS), size=len(pixels))]
    offsets = directions * round(distance_px)
    size, reach = pixels.shape[1], round(distance_px)
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    rows = np.arange(size) + reach - offsets[:, :1]
    columns = np.arange(size) + reach - offsets[:, 1:]
    images = np.arange(len(pixels))[:, None, None]
    shifted: Pixels = padded[images, rows[:, :, None], columns[:, None, :]]
    return shifted


def rotate(pixels: Pixels, angle_degrees: float, random: np.random.Generator) -> Pixels:
    """Rotate about the center, at random clockwise or counterclockwise."""
    angles = np.radians(angle_degrees) * _signs(pixels, random)
    cos, sin = np.cos(angles), np.sin(angles)
    return _affine(pixels, np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2))


def scale(pixels: Pixels, factor: float, random: np.random.Generator) -> Pixels:
    """Scale about the center; a factor below 1 makes the digit smaller."""
    return _affine(pixels, np.tile(np.eye(2) / factor, (len(pixels), 1, 1)))


def shear(pixels: Pixels, tangent: float, random: np.random.Generator) -> Pixels:
    """Slant vertical lines, at random to the left or to the right, by an angle of this tangent."""
    matrices = np.tile(np.eye(2), (len(pixels), 1, 1))
    matrices[:, 1, 0] = tangent * _signs(pixels, random)
    return _affine(pixels, matrices)


def blur(pixels: Pixels, sigma_px: float, random: np.random.Generator) -> Pixels:
    """Convolve with a Gaussian kernel of standard deviation `sigma_px`."""
    reach = int(np.ceil(4 * sigma_px))  # the kernel ends at four standard deviations
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    size = pixels.shape[1]
    # The blur along rows and that along columns are matrix products with the same band matrix. Its
    # column j is the kernel, centered at row j.
    taps = np.arange(size)[:, None] - np.arange(size) + reach
    inside = (taps >= 0) & (taps <= 2 * reach)
    band = np.where(inside, kernel[np.clip(taps, 0, 2 * reach)], 0) / kernel.sum()
    band = band.astype(np.float32)
    return _to_uint8((band @ pixels[..., 0].astype(np.float32) @ band)[..., None])


def add_noise(pixels: Pixels, sigma: float, random: np.random.Generator) -> Pixels:
    """Add Gaussian noise of standard deviation `sigma` to each pixel; 1 is full scale (255)."""
    noise = random.standard_normal(pixels.shape, np.float32)
    return _to_uint8(pixels + np.float32(255 * sigma) * noise)


def lower_contrast(pixels: Pixels, factor: float, random: np.random.Generator) -> Pixels:
    """Multiply the differences from the image's mean by a factor from 0 to 1.

    ImageNet-C (Hendrycks and Dietterich, "Benchmarking Neural Network Robustness", 2019) and Pillow
    define contrast in this way. The background turns gray, as in a photograph through haze.
    """
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
    return _to_uint8(mean + np.float32(factor) * (pixels - mean))


def raise_brightness(pixels: Pixels, offset: float, random: np.random.Generator) -> Pixels:
    """Add a constant to each pixel; an `offset` of 1 is full scale (255)."""
    return _to_uint8(pixels + np.float32(255 * offset))


def thicken(pixels: Pixels, growth_px: float, random: np.random.Generator) -> Pixels:
    """Widen strokes by `growth_px`, half of it on each side."""
    return _morph(pixels, growth_px, np.maximum)


def thin(pixels: Pixels, loss_px: float, random: np.random.Generator) -> Pixels:
    """Narrow strokes by `loss_px`, half of it on each side."""
    return _morph(pixels, loss_px, np.minimum)


def occlude(pixels: Pixels, side_px: float, random: np.random.Generator) -> Pixels:
    """Erase a square of `side_px`, rounded to whole pixels, around a random ink pixel.

    In an image without ink, the square is around the pixel in the top left corner.
    """
    size, side = pixels.shape[1], round(side_px)
    is_ink = pixels[..., 0] > _INK_THRESHOLD
    priorities = np.where(is_ink, random.random(pixels.shape[:3]), -1.0)
    centers = priorities.reshape(len(pixels), -1).argmax(axis=1)
    top, left = (center - side // 2 for center in np.divmod(centers, size))
    index = np.arange(size)
    rows = (index >= top[:, None]) & (index < top[:, None] + side)
    columns = (index >= left[:, None]) & (index < left[:, None] + side)
    square = rows[:, :, None] & columns[:, None, :]
    return np.where(square[..., None], np.uint8(0), pixels)


# These change each pixel by itself, so images of any shape need no margin.
_WITHOUT_EDGES: tuple[Apply, ...] = (add_noise, lower_contrast, raise_brightness)
_OF_STROKES: tuple[Apply, ...] = (thicken, thin, occlude)  # photographs have no strokes

# All corruptions of the benchmark, in the order of the report.
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
    """Draw −1 or 1 for each image, (N,)."""
    return random.integers(2, size=len(pixels)) * 2 - 1


def _affine(pixels: Pixels, matrices: npt.NDArray[np.float64]) -> Pixels:
    """Transform each image about its center, with bilinear interpolation.

    Args:
        pixels: (N, 28, 28, 1) uint8.
        matrices: (N, 2, 2); each maps (row, column) in the result to (row, column) in `pixels`,
            both relative to the center.
    """
    size = pixels.shape[1]
    from_center = np.arange(size) - (size - 1) / 2
    grid = np.stack(np.meshgrid(from_center, from_center, indexing="ij")).reshape(2, -1)
    # Positions outside the image are clipped to a border of one pixel of background.
    padded = np.pad(pixels[..., 0], ((0, 0), (1, 1), (1, 1))).astype(np.float32)
    stride = size + 2
    result = np.empty_like(pixels)
    for start in range(0, len(pixels), _CHUNK_IMAGES):
        images = padded[start : start + _CHUNK_IMAGES].reshape(-1, stride * stride)
        positions = matrices[start : start + _CHUNK_IMAGES] @ grid + (size + 1) / 2
        positions = np.clip(positions, 0, size + 0.999)  # the pixel to the right must exist
        corners = positions.astype(np.int64)
        down, right = (positions - corners).astype(np.float32).transpose(1, 0, 2)
        index = corners[:, 0] * stride + corners[:, 1]
        top_left, top_right, bottom_left, bottom_right = (
            np.take_along_axis(images, index + step, axis=1) for step in (0, 1, stride, stride + 1)
        )
        top = top_left + right * (top_right - top_left)
        bottom = bottom_left + right * (bottom_right - bottom_left)
        values = top + down * (bottom - top)
        result[start : start + _CHUNK_IMAGES] = _to_uint8(values.reshape(-1, size, size, 1))
    return result


def _morph(pixels: Pixels, change_px: float, extreme: np.ufunc) -> Pixels:
    """Apply grayscale dilation or erosion with a disk, on an upsampled grid.

    Morpho-MNIST (Castro et al., 2019) does the same on binary images upsampled four times.

    Args:
        pixels: (N, 28, 28, 1) uint8.
        change_px: the change of the stroke width. It equals the diameter of the disk.
        extreme: `np.maximum` for dilation, `np.minimum` for erosion.
    """
    # Use a grid of twice the resolution if the radius is not a whole number of grid points.
    whole = (_UPSAMPLING * change_px / 2).is_integer()
    upsampling = _UPSAMPLING if whole else 2 * _UPSAMPLING
    radius = upsampling * change_px / 2
    reach = int(radius)
    result = np.empty_like(pixels)
    n, side = len(pixels), pixels.shape[1]
    size = side * upsampling
    for start in range(0, n, _CHUNK_IMAGES):
        chunk = pixels[start : start + _CHUNK_IMAGES, :, :, 0]
        fine = chunk.repeat(upsampling, 1).repeat(upsampling, 2)
        padded = np.pad(fine, ((0, 0), (reach, reach), (reach, reach)))
        changed = fine.copy()
        for down in range(-reach, reach + 1):
            # Half a point is added to the radius: otherwise the disk has single points at its ends.
            half_width = int(np.sqrt(max(0.0, (radius + 0.5) ** 2 - down**2)))
            half_width = min(half_width, reach)
            rows = padded[:, reach + down : reach + down + size]
            for right in range(-half_width, half_width + 1):
                extreme(changed, rows[:, :, reach + right : reach + right + size], out=changed)
        blocks = changed.reshape(len(changed), side, upsampling, side, upsampling)
        means = blocks.mean(axis=(2, 4), dtype=np.float32)
        result[start : start + _CHUNK_IMAGES] = _to_uint8(means[..., None])
    return result


def _to_uint8(values: Floats) -> Pixels:
    """Round gray levels and clip them to 0 … 255; the shape is kept."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
