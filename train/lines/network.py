"""The line reader's network: as it is trained, and as it is saved."""

from typing import TYPE_CHECKING

import numpy as np

from runtime.multi_digit.line_reader import HEIGHT_PX
from train.model import NORM_EPSILON, NORM_MOMENTUM, initial_seed

if TYPE_CHECKING:
    import keras

# Of each convolution: filters, (height, width) of its kernel, (height, width) of the pooling behind
# it. The poolings reduce the height of 32 to 1, and the width by 4, which is `STRIDE_PX` of
# `runtime.multi_digit.line_reader`: a time step is 4 columns of pixels.
LAYERS = (
    (24, (3, 3), (2, 2)),
    (32, (3, 3), (2, 2)),
    (64, (3, 3), (1, 1)),
    (64, (3, 3), (2, 1)),
    (64, (3, 3), (2, 1)),
    (96, (3, 3), (2, 1)),
    (96, (1, 5), (1, 1)),
)


def build(classes: int) -> "keras.Model":
    """Build the inference network, as it is saved; 202,268 parameters for twelve classes.

    Input `pixels`: float32 (N, 32, width, 1) from 0 (background) to 1 (ink), any width that 4
    divides.
    Output `scores`: float32 (N, 1, width / 4, classes), the logits of each column.
    """
    import keras
    from keras import layers

    pixels = keras.Input((HEIGHT_PX, None, 1), name="pixels")
    x = pixels
    for n, (filters, kernel, pool) in enumerate(LAYERS, 1):
        x = layers.Conv2D(filters, kernel, padding="same", activation="relu", name=f"conv{n}")(x)
        if pool != (1, 1):
            x = layers.MaxPooling2D(pool, name=f"pool{n}")(x)
    scores = layers.Conv2D(classes, 1, name="scores")(x)
    return keras.Model(pixels, scores, name="lines")


def build_trainable(classes: int, seed: int = 0) -> "keras.Model":
    """Build the network that is trained; `fold_batch_norm` converts it to that of `build`.

    As in `train.model`, normalization without a scale stands behind the pooling.
    """
    import keras
    from keras import layers

    pixels = keras.Input((HEIGHT_PX, None, 1), name="pixels")
    x = pixels
    for n, (filters, kernel, pool) in enumerate(LAYERS, 1):
        initial = keras.initializers.HeNormal(seed=initial_seed(seed, n))
        x = layers.Conv2D(
            filters,
            kernel,
            padding="same",
            use_bias=False,
            kernel_initializer=initial,
            name=f"conv{n}",
        )(x)
        if pool != (1, 1):
            x = layers.MaxPooling2D(pool, name=f"pool{n}")(x)
        x = layers.BatchNormalization(
            scale=False, momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=f"norm{n}"
        )(x)
        x = layers.ReLU(name=f"relu{n}")(x)
    last = keras.initializers.GlorotUniform(seed=initial_seed(seed, len(LAYERS) + 1))
    logits = layers.Conv2D(classes, 1, kernel_initializer=last, name="scores")(x)
    return keras.Model(pixels, logits, name="lines_in_training")


def fold_batch_norm(trained: "keras.Model") -> "keras.Model":
    """Fold normalization into the convolutions; the result is `build(classes)`."""
    kernel, bias = trained.get_layer("scores").get_weights()
    model = build(len(bias))
    model.get_layer("scores").set_weights([kernel, bias])
    for n in range(1, len(LAYERS) + 1):
        norm = trained.get_layer(f"norm{n}")
        shift, mean, variance = (np.asarray(w, np.float64) for w in norm.get_weights())
        factor = 1 / np.sqrt(variance + norm.epsilon)
        kernel = np.asarray(trained.get_layer(f"conv{n}").get_weights()[0], np.float64)
        folded = [kernel * factor, shift - mean * factor]
        model.get_layer(f"conv{n}").set_weights([w.astype(np.float32) for w in folded])
    return model
