"""Corrupts a share of each training batch: contrast, brightness, noise, blur, stroke, occlusion.

`train.fitting.fit` corrupts batches after the augmentation; `train.recipe` contains the amounts.
The light of photographs is varied here too: brightness, contrast and color of every image. Ink has
no light: the preprocessing has removed it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# The fields of `Corruption` that are kinds of corruption. The order determines the random numbers
# of a kind, so a change of the order changes the trained weights.
_KINDS = ("contrast", "brightness", "noise", "blur_px", "stroke_px", "occlusion_px")
_MIN_BLUR_PX = 0.3  # smallest standard deviation of a blur; smaller ones hardly change an image
_MIN_SQUARE_PX = 2.0  # smallest side of the square that covers part of a digit
_INK_LEVEL = 0.5  # pixels above this level, from 0 to 1, are ink that the square may be centered on


@dataclass(frozen=True)
class Corruption:
    """The largest amount of each kind of corruption; 0 turns a kind off.

    A corrupted image gets one kind. The amount is drawn from a uniform distribution, for each image
    separately.

    Attributes:
        share: share of a batch that is corrupted, from 0 to 1, divided equally among the kinds.
        contrast: share by which pixels move towards the mean of the image, from 0 to 1.
        brightness: value added to every pixel, as a share of full scale, from 0 to 1.
        noise: standard deviation of Gaussian noise, as a share of full scale, from 0 to 1.
        blur_px: standard deviation of a Gaussian blur, in pixels; at least 0.3 if not 0.
        stroke_px: width that strokes gain or lose, in pixels, from 0 to 2.
        occlusion_px: side of a square of background that covers part of the ink, in pixels.
    """

    share: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    blur_px: float = 0.0
    stroke_px: float = 0.0
    occlusion_px: float = 0.0


def corrupt(
    images: "tf.Tensor",
    size: int,
    corruption: Corruption,
    seed: "tf.Tensor",
    repeat_edges: bool = False,
) -> "tf.Tensor":
    """Corrupt the first images of a batch, an equal part with each kind of corruption.

    The batch must be shuffled already, so that the first images are a random choice. The same seed
    gives the same result.

    Args:
        images: float32 (size, H, W, channels) from 0 (background) to 1 (ink).
        size: number of images in the batch, at least 1.
        corruption: the largest amounts.
        seed: two whole numbers, int32 (2,).
        repeat_edges: whether a blur keeps the level of the edges, as for photographs; otherwise it
            mixes them with background.

    Returns:
        float32 (size, H, W, channels) from 0 to 1. The batch is returned unchanged if the share or
        all amounts are 0.
    """
    import tensorflow as tf

    kinds = [kind for kind in _KINDS if getattr(corruption, kind)]
    if not kinds or not corruption.share:
        return images
    # Round the cumulative bounds, so that the parts of a small batch still add up to its share.
    bounds = [round(size * corruption.share * n / len(kinds)) for n in range(len(kinds) + 1)]
    functions: dict[str, Callable[..., tf.Tensor]] = {
        "contrast": _lower_contrast,
        "brightness": _raise_brightness,
        "noise": _add_noise,
        "blur_px": partial(_blur, keep_edges=repeat_edges),
        "stroke_px": _change_strokes,
        "occlusion_px": _occlude,
    }
    parts = []
    for n, kind in enumerate(kinds):
        part = images[bounds[n] : bounds[n + 1]]
        if bounds[n + 1] > bounds[n]:
            kind_seed = seed + tf.constant([0, 2 + _KINDS.index(kind)])
            parts.append(functions[kind](part, getattr(corruption, kind), kind_seed))
    parts.append(images[bounds[-1] :])
    return tf.clip_by_value(tf.concat(parts, axis=0), 0.0, 1.0)


def _draw(images: "tf.Tensor", seed: "tf.Tensor", low: float, high: float) -> "tf.Tensor":
    """Return one uniform random number from `low` to `high` for each image, (N, 1, 1, 1)."""
    import tensorflow as tf

    return tf.random.stateless_uniform((images.shape[0], 1, 1, 1), seed, low, high)


def _lower_contrast(images: "tf.Tensor", max_amount: float, seed: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * (1 - _draw(images, seed, 0.0, max_amount))


def _raise_brightness(images: "tf.Tensor", max_amount: float, seed: "tf.Tensor") -> "tf.Tensor":
    return images + _draw(images, seed, 0.0, max_amount)


def _add_noise(images: "tf.Tensor", max_amount: float, seed: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    noise = tf.random.stateless_normal(tf.shape(images), seed + tf.constant([0, 100]))
    return images + noise * _draw(images, seed, 0.0, max_amount)


def _blur(
    images: "tf.Tensor", max_px: float, seed: "tf.Tensor", keep_edges: bool = False
) -> "tf.Tensor":
    """Blur with a separable Gaussian: multiply by a band matrix of kernels from both sides."""
    import tensorflow as tf

    # The upper bound must exceed the lower bound.
    sigma = _draw(images, seed, _MIN_BLUR_PX, max(max_px, _MIN_BLUR_PX + 0.01))[..., 0]
    sqrt_two_pi = 2.5066283

    def band(size: int) -> "tf.Tensor":
        """Return the kernels, (N, size, size): column j is centered at j."""
        positions = tf.range(size, dtype=tf.float32)
        distances = positions[:, None] - positions
        kernels = tf.exp(-0.5 * (distances / sigma) ** 2) / (sigma * sqrt_two_pi)
        sums = tf.reduce_sum(kernels, axis=1, keepdims=True)
        # Limit the sum of a kernel to 1: a Gaussian sampled at whole pixels exceeds 1 if sigma is
        # below a third of a pixel.
        return kernels / (sums if keep_edges else tf.maximum(sums, 1.0))

    rows, columns = band(images.shape[1]), band(images.shape[2])
    if keep_edges:
        rows = tf.linalg.matrix_transpose(rows)  # each row has the sum 1
    planes = [rows @ images[..., n] @ columns for n in range(images.shape[3])]
    return tf.stack(planes, axis=-1)


def _change_strokes(images: "tf.Tensor", max_px: float, seed: "tf.Tensor") -> "tf.Tensor":
    """Thicken the first half of the images, and thin the other half.

    A 3 × 3 dilation moves each of the two edges of a stroke outwards by one pixel; an erosion
    moves both edges inwards. The result is interpolated between the image and its dilation or
    erosion, so a stroke gains or loses at most 2 pixels.
    """
    import tensorflow as tf

    def dilated(part: "tf.Tensor") -> "tf.Tensor":
        return tf.nn.max_pool2d(part, 3, 1, "SAME")

    amount = _draw(images, seed, 0.0, max_px / 2)
    half = images.shape[0] // 2
    thicker, thinner = images[:half], images[half:]
    return tf.concat(
        [
            thicker + (dilated(thicker) - thicker) * amount[:half],
            thinner + (-dilated(-thinner) - thinner) * amount[half:],
        ],
        axis=0,
    )


def _occlude(images: "tf.Tensor", max_px: float, seed: "tf.Tensor") -> "tf.Tensor":
    """Blank a square of each image, centered on a random pixel of ink."""
    import tensorflow as tf

    n, height, width = images.shape[0], images.shape[1], images.shape[2]
    chance = tf.random.stateless_uniform((n, height * width), seed + tf.constant([0, 100]))
    inked = tf.reshape(images[..., 0] > _INK_LEVEL, (n, height * width))
    center = tf.argmax(tf.where(inked, chance, -1.0), axis=1, output_type=tf.int32)
    half_side = _draw(images, seed, min(_MIN_SQUARE_PX, max_px), max_px)[:, 0, :, 0] / 2

    def covered(middle: "tf.Tensor", size: int) -> "tf.Tensor":
        positions = tf.range(size, dtype=tf.float32)
        return tf.abs(positions - tf.cast(middle, tf.float32)[:, None] + 0.5) < half_side

    rows, columns = covered(center // width, height), covered(center % width, width)
    square = rows[:, :, None] & columns[:, None, :]
    return tf.where(square[..., None], 0.0, images)


@dataclass(frozen=True)
class Lighting:
    """The largest changes of light; 0 turns one off.

    The changes of an image are drawn from uniform distributions, for each image separately.

    Attributes:
        brightness: added to or subtracted from every pixel, as a share of full scale, from 0 to 1.
        contrast: change of the differences from the image's mean: 0.4 multiplies them by 0.6 to
            1.4.
        tint: change of each color channel, as for `contrast`, but of the pixels themselves.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    tint: float = 0.0


def vary_light(images: "tf.Tensor", lighting: Lighting, seed: "tf.Tensor") -> "tf.Tensor":
    """Change the light of each image of a batch at random.

    Args:
        images: float32 (N, H, W, channels) from 0 to 1.
        lighting: the largest changes.
        seed: two whole numbers, int32 (2,).

    Returns:
        float32 (N, H, W, channels) from 0 to 1; the batch unchanged if all changes are 0.
    """
    import tensorflow as tf

    if lighting == Lighting():
        return images
    n, channels = tf.shape(images)[0], images.shape[3]
    draws = tf.random.stateless_uniform((2 + channels, n, 1, 1, 1), seed, -1.0, 1.0)
    gains = 1 + lighting.tint * tf.concat(tf.unstack(draws[2:]), axis=-1)
    images = images * gains
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    images = mean + (images - mean) * (1 + lighting.contrast * draws[0])
    return tf.clip_by_value(images + lighting.brightness * draws[1], 0.0, 1.0)
