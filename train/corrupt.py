"""Corrupts a share of each batch: contrast, brightness, noise, blur, stroke width, occlusion."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_KINDS = ("contrast", "brightness", "noise", "blur_px", "stroke_px", "occlusion_px")


@dataclass(frozen=True)
class Corruption:
    """The strongest corruption of images; each corrupted image gets one way, drawn evenly.

    Attributes:
        share: of a batch, from 0 to 1, divided evenly among the ways that are not 0.
        contrast: 0.8 draws values towards the image's mean by up to four fifths.
        brightness: added to every pixel, as a share of full scale.
        noise: standard deviation of what is added to each pixel, as a share of full scale.
        blur_px: standard deviation of a Gaussian.
        stroke_px: by how much strokes grow wider or thinner, at most 2.
        occlusion_px: side of a square of background whose middle is on the ink.
    """

    share: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    blur_px: float = 0.0
    stroke_px: float = 0.0
    occlusion_px: float = 0.0


def corrupt(
    images: "tf.Tensor", size: int, corruption: Corruption, seed: "tf.Tensor"
) -> "tf.Tensor":
    """Spoil the first images of a batch, a part for each way; the same seed, the same result.

    A batch is in random order, so which part an image falls into is chance, and each way costs
    no more than its own part.

    Args:
        images: float32 (size, H, W, 1) from 0 (background) to 1.
        size: of the batch.
        corruption: the largest amounts.
        seed: two integers.

    Returns:
        As `images`.
    """
    import tensorflow as tf

    kinds = [kind for kind in _KINDS if getattr(corruption, kind)]
    if not kinds or not corruption.share:
        return images
    # Cumulated, so that the parts of a small batch still add up to its share.
    bounds = [round(size * corruption.share * n / len(kinds)) for n in range(len(kinds) + 1)]
    ways = {
        "contrast": _lower_contrast,
        "brightness": _raise_brightness,
        "noise": _add_noise,
        "blur_px": _blur,
        "stroke_px": _change_strokes,
        "occlusion_px": _occlude,
    }
    parts = []
    for n, kind in enumerate(kinds):
        part = images[bounds[n] : bounds[n + 1]]
        if bounds[n + 1] > bounds[n]:
            own = [*seed, 0, 2 + _KINDS.index(kind)]
            parts.append(ways[kind](part, getattr(corruption, kind), own))
    parts.append(images[bounds[-1] :])
    return tf.clip_by_value(tf.concat(parts, axis=0), 0.0, 1.0)


def _draw(images: "tf.Tensor", seed: "tf.Tensor", least: float, most: float) -> "tf.Tensor":
    """One number for each image, (N, 1, 1, 1)."""
    import tensorflow as tf

    return tf.random.stateless_uniform((images.shape[0], 1, 1, 1), seed, least, most)


def _lower_contrast(images: "tf.Tensor", most: float, seed: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * (1 - _draw(images, seed, 0.0, most))


def _raise_brightness(images: "tf.Tensor", most: float, seed: "tf.Tensor") -> "tf.Tensor":
    return images + _draw(images, seed, 0.0, most)


def _add_noise(images: "tf.Tensor", most: float, seed: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    noise = tf.random.stateless_normal(tf.shape(images), [*seed, 0, 100])
    return images + noise * _draw(images, seed, 0.0, most)


def _blur(images: "tf.Tensor", most: float, seed: "tf.Tensor") -> "tf.Tensor":
    """Both passes as products with a band matrix, whose column j is the kernel around j."""
    import tensorflow as tf

    at = tf.range(images.shape[1], dtype=tf.float32)
    sigma = _draw(images, seed, 0.3, max(most, 0.31))[..., 0]
    band = tf.exp(-0.5 * ((at[:, None] - at) / sigma) ** 2) / (sigma * 2.5066283)
    # Below a third of a pixel a sampled Gaussian no longer sums to 1.
    band /= tf.maximum(tf.reduce_sum(band, axis=1, keepdims=True), 1.0)
    return (band @ images[..., 0] @ band)[..., None]


def _change_strokes(images: "tf.Tensor", most: float, seed: "tf.Tensor") -> "tf.Tensor":
    """Towards the largest or the smallest of the 3 × 3 neighbors: a pixel on either side."""
    import tensorflow as tf

    def widened(some: "tf.Tensor") -> "tf.Tensor":
        return tf.nn.max_pool2d(some, 3, 1, "SAME")

    amount = _draw(images, seed, 0.0, most / 2)
    half = images.shape[0] // 2
    wide, thin = images[:half], images[half:]
    return tf.concat(
        [
            wide + (widened(wide) - wide) * amount[:half],
            thin + (-widened(-thin) - thin) * amount[half:],
        ],
        axis=0,
    )


def _occlude(images: "tf.Tensor", most: float, seed: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    n, height, width = images.shape[0], images.shape[1], images.shape[2]
    chance = tf.random.stateless_uniform((n, height * width), [*seed, 0, 100])
    inked = tf.reshape(images > 0.5, (n, height * width))
    middle = tf.argmax(tf.where(inked, chance, -1.0), axis=1, output_type=tf.int32)
    half = _draw(images, seed, min(2.0, most), most)[:, 0, :, 0] / 2

    def near(center: "tf.Tensor", size: int) -> "tf.Tensor":
        at = tf.range(size, dtype=tf.float32)
        return tf.abs(at - tf.cast(center, tf.float32)[:, None] + 0.5) < half

    patch = near(middle // width, height)[:, :, None] & near(middle % width, width)[:, None, :]
    return tf.where(patch[..., None], 0.0, images)
