"""Varies the light of training photographs: brightness, contrast and color of each image.

`train.fit` varies each batch of photographs after the geometric augmentation. Ink has no light: the
preprocessing has removed it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


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
