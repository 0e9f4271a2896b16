"""Augments batches of training images: random rotation, scale, shear, shift, elastic distortion.

`train.fitting.fit` augments each batch; `train.recipe` contains the amounts.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Augmentation:
    """The largest amounts of augmentation.

    The amounts of an image are drawn from uniform distributions, for each image separately. Only
    the displacements of elastic distortion come from a normal distribution.

    Attributes:
        rotation_degrees: maximum rotation, clockwise and counterclockwise.
        scale: maximum change of size, for each axis separately: 0.1 scales by 1/1.1 to 1.1.
        shear: maximum horizontal shear, to the left and to the right, as the tangent of the angle.
        shift_px: maximum shift in pixels, in both directions of each axis.
        elastic_px: standard deviation of the displacements of elastic distortion, in pixels; 0
            turns elastic distortion off.
        elastic_points: grid points per side of an image. A displacement is drawn for each grid
            point; the displacements of the pixels are interpolated.
    """

    rotation_degrees: float = 12.0
    scale: float = 0.12
    shear: float = 0.2
    shift_px: float = 1.5
    elastic_px: float = 0.0
    elastic_points: int = 5

    @classmethod
    def none(cls) -> "Augmentation":
        """Return an augmentation that changes nothing."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0)


def augment(
    images: "tf.Tensor",
    distortion: Augmentation,
    strength: "tf.Tensor",
    seed: "tf.Tensor",
    margin: int = 0,
    repeat_edges: bool = False,
) -> "tf.Tensor":
    """Distort each image of a batch at random; the same seed gives the same distortions.

    Args:
        images: float32 (N, H, W, channels); 0 is background.
        distortion: the largest amounts.
        strength: scalar from 0 to 1, by which all amounts are multiplied.
        seed: two whole numbers, int32 (2,).
        margin: pixels at each edge that the network crops. The result is background there, which
            saves computing these pixels.
        repeat_edges: whether pixels from outside an image repeat its edge, as for photographs;
            otherwise they are background.

    Returns:
        float32 (N, H, W, channels). If all amounts are 0, the batch is returned unchanged, margin
        included.
    """
    import tensorflow as tf

    if distortion == Augmentation.none():
        return images
    n, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    matrices = _affine(distortion, strength, n, height, width, seed, margin)
    window = (height - 2 * margin, width - 2 * margin)
    if distortion.elastic_px:
        points = distortion.elastic_points
        field = tf.random.stateless_normal((n, points, points, 2), seed + tf.constant([0, 1]))
        field = tf.image.resize(field, window, method="bicubic")
        field *= strength * distortion.elastic_px
        inner = _warp(images, matrices, field, repeat_edges)
    else:
        inner = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=matrices,
            output_shape=window,
            interpolation="BILINEAR",
            fill_mode="NEAREST" if repeat_edges else "CONSTANT",
            fill_value=0.0,
        )
    return tf.pad(inner, [[0, 0], [margin, margin], [margin, margin], [0, 0]])


def _affine(
    distortion: Augmentation,
    strength: "tf.Tensor",
    n: "tf.Tensor",
    height: int,
    width: int,
    seed: "tf.Tensor",
    margin: int,
) -> "tf.Tensor":
    """Return (N, 8) transforms from window to image coordinates for ImageProjectiveTransformV3."""
    import tensorflow as tf

    draws = tf.random.stateless_uniform((6, n), seed, -1.0, 1.0) * strength
    angle = draws[0] * (distortion.rotation_degrees * math.pi / 180)
    log_scale = math.log1p(distortion.scale)
    scale_x, scale_y = tf.exp(draws[1] * log_scale), tf.exp(draws[2] * log_scale)
    shear = draws[3] * distortion.shear
    cos, sin = tf.cos(angle), tf.sin(angle)
    # [[a, b], [c, d]] = rotation · shear · scale, about the center (x, y) of the image. dx and dy
    # contain the random shift.
    a, b = cos * scale_x, (cos * shear - sin) * scale_y
    c, d = sin * scale_x, (sin * shear + cos) * scale_y
    x, y = (width - 1) / 2, (height - 1) / 2
    dx = x - a * (x - margin) - b * (y - margin) + draws[4] * distortion.shift_px
    dy = y - c * (x - margin) - d * (y - margin) + draws[5] * distortion.shift_px
    zero = tf.zeros_like(a)
    return tf.stack([a, b, dx, c, d, dy, zero, zero], axis=1)


def _warp(
    images: "tf.Tensor", matrices: "tf.Tensor", field: "tf.Tensor", repeat_edges: bool
) -> "tf.Tensor":
    """Resample each image bilinearly at the points that its matrix and displacements map to.

    Args:
        images: float32 (N, H, W, channels).
        matrices: (N, 8), see `_affine`.
        field: displacements in pixels, float32 (N, height, width, 2), (x, y) per output pixel.
        repeat_edges: as in `augment`.
    """
    import tensorflow as tf

    n, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    channels = images.shape[3]
    rows, columns = tf.meshgrid(
        tf.range(field.shape[1], dtype=tf.float32),
        tf.range(field.shape[2], dtype=tf.float32),
        indexing="ij",
    )
    m = matrices[:, :, None, None]
    # Pad with one pixel on all sides, which clipped coordinates read: background, or the edge.
    x = m[:, 0] * columns + m[:, 1] * rows + m[:, 2] + field[..., 0] + 1
    y = m[:, 3] * columns + m[:, 4] * rows + m[:, 5] + field[..., 1] + 1
    x = tf.clip_by_value(x, 0.0, width + 0.999)
    y = tf.clip_by_value(y, 0.0, height + 0.999)
    left, top = tf.floor(x), tf.floor(y)
    right_share, lower_share = (x - left)[..., None], (y - top)[..., None]
    padded = tf.pad(
        images, [[0, 0], [1, 2], [1, 2], [0, 0]], "SYMMETRIC" if repeat_edges else "CONSTANT"
    )
    # Put the four neighbors of a pixel side by side: one gather instead of four.
    corners = tf.concat(
        [padded[:, :-1, :-1], padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]], axis=3
    )
    stride = width + 2
    flat = tf.reshape(corners, (n * (height + 2) * stride, 4 * channels))
    indices = tf.cast(top, tf.int32) * stride + tf.cast(left, tf.int32)
    indices += (tf.range(n) * ((height + 2) * stride))[:, None, None]
    top_left, top_right, bottom_left, bottom_right = tf.split(tf.gather(flat, indices), 4, axis=-1)
    upper = top_left * (1 - right_share) + top_right * right_share
    lower = bottom_left * (1 - right_share) + bottom_right * right_share
    return upper * (1 - lower_share) + lower * lower_share
