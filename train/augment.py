"""Random distortions of whole batches of images."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Augmentation:
    """How far images are distorted at most; each image draws its own amounts, evenly.

    Attributes:
        rotation_degrees: either way.
        scale: 0.1 makes sizes from 1/1.1 to 1.1, each axis for itself.
        shear: horizontal, as the tangent of the angle.
        shift_px: either way, each axis for itself.
        elastic_px: standard deviation of the displacement of single points.
        elastic_points: points a side whose displacement is drawn; between them it is smooth.
    """

    rotation_degrees: float = 12.0
    scale: float = 0.12
    shear: float = 0.2
    shift_px: float = 1.5
    elastic_px: float = 0.0
    elastic_points: int = 5

    @classmethod
    def none(cls) -> "Augmentation":
        """No distortion at all."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0)


def augment(
    images: "tf.Tensor",
    distortion: Augmentation,
    strength: "tf.Tensor",
    seed: "tf.Tensor",
    margin: int = 0,
) -> "tf.Tensor":
    """Distort each image of a batch in its own way; the same seed gives the same distortions.

    Args:
        images: float32 (N, H, W, 1), 0 background.
        distortion: the largest amounts.
        strength: scalar from 0 to 1, by which all amounts are multiplied.
        seed: two integers.
        margin: pixels at each edge that nobody will look at, and that are left background.

    Returns:
        As `images`; what lies outside of an image is background.
    """
    import tensorflow as tf

    if distortion == Augmentation.none():
        return images
    n, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    matrices = _affine(distortion, strength, n, height, width, seed, margin)
    window = (height - 2 * margin, width - 2 * margin)
    if distortion.elastic_px:
        points = distortion.elastic_points
        field = tf.random.stateless_normal((n, points, points, 2), [*seed, 0, 1])
        field = tf.image.resize(field, window, method="bicubic")
        inside = _warp(images, matrices, field * (strength * distortion.elastic_px))
    else:
        inside = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=matrices,
            output_shape=window,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
            fill_value=0.0,
        )
    return tf.pad(inside, [[0, 0], [margin, margin], [margin, margin], [0, 0]])


def _affine(
    distortion: Augmentation,
    strength: "tf.Tensor",
    n: "tf.Tensor",
    height: int,
    width: int,
    seed: "tf.Tensor",
    margin: int,
) -> "tf.Tensor":
    """(N, 8) transforms from the window's coordinates to the image's, as the op wants them."""
    import tensorflow as tf

    draws = tf.random.stateless_uniform((6, n), seed, -1.0, 1.0) * strength
    angle = draws[0] * (distortion.rotation_degrees * math.pi / 180)
    grow = math.log1p(distortion.scale)
    wide, high = tf.exp(draws[1] * grow), tf.exp(draws[2] * grow)
    shear = draws[3] * distortion.shear
    cos, sin = tf.cos(angle), tf.sin(angle)
    # Rotation · scale · shear, about the center, then the shift.
    a, b = cos * wide, (cos * shear - sin) * high
    c, d = sin * wide, (sin * shear + cos) * high
    x, y = (width - 1) / 2, (height - 1) / 2
    dx = x - a * (x - margin) - b * (y - margin) + draws[4] * distortion.shift_px
    dy = y - c * (x - margin) - d * (y - margin) + draws[5] * distortion.shift_px
    zero = tf.zeros_like(a)
    return tf.stack([a, b, dx, c, d, dy, zero, zero], axis=1)


def _warp(images: "tf.Tensor", matrices: "tf.Tensor", field: "tf.Tensor") -> "tf.Tensor":
    """Read each image, bilinearly, where its matrix and its displacement field point."""
    import tensorflow as tf

    n, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    rows, columns = tf.meshgrid(
        tf.range(field.shape[1], dtype=tf.float32),
        tf.range(field.shape[2], dtype=tf.float32),
        indexing="ij",
    )
    m = matrices[:, :, None, None]
    # One background pixel all round, so that the clipped coordinates read background.
    x = m[:, 0] * columns + m[:, 1] * rows + m[:, 2] + field[..., 0] + 1
    y = m[:, 3] * columns + m[:, 4] * rows + m[:, 5] + field[..., 1] + 1
    x = tf.clip_by_value(x, 0.0, width + 0.999)
    y = tf.clip_by_value(y, 0.0, height + 0.999)
    left, top = tf.floor(x), tf.floor(y)
    right_share, lower_share = (x - left)[..., None], (y - top)[..., None]
    padded = tf.pad(images, [[0, 0], [1, 2], [1, 2], [0, 0]])
    # The four neighbors of a pixel side by side: one read in place of four.
    corners = tf.concat(
        [padded[:, :-1, :-1], padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]], axis=3
    )
    stride = width + 2
    flat = tf.reshape(corners, (n * (height + 2) * stride, 4))
    at = tf.cast(top, tf.int32) * stride + tf.cast(left, tf.int32)
    at += (tf.range(n) * ((height + 2) * stride))[:, None, None]
    found = tf.gather(flat, at)
    upper = found[..., 0:1] * (1 - right_share) + found[..., 1:2] * right_share
    lower = found[..., 2:3] * (1 - right_share) + found[..., 3:4] * right_share
    return upper * (1 - lower_share) + lower * lower_share
