"""Builds the nine-layer CNN in two forms: with batch normalization to train, without to save.

`train.fit` trains the network of `build_trainable`. After training, `train.run` calls
`fold_batch_norm`, which converts it to the network of `build`.
"""

from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import EdgeError
from runtime.preprocess.mnist_format import PIXELS_SHAPE

if TYPE_CHECKING:
    import keras

# Pixels cropped at each edge: the network sees the central 22 × 22 of 28 × 28 pixels. Each
# convolution shrinks a side by 2, and each pooling halves it: 22 → 20 → 10 → 8 → 4 → 2 → 1.
# From 28 pixels, the sides before the last two poolings would be odd (11 and 3). Pooling an odd
# side drops its last row and column.
CROP_PX = 3
FILTERS = (32, 64, 64)  # of the three 3 × 3 convolutions
HIDDEN_UNITS = 128  # of the dense layer before the output
# Added to the variance in batch normalization, to prevent a division by zero. Keras's default of
# 1e-3 is not small against the variance of some channels; PyTorch also uses 1e-5.
NORM_EPSILON = 1e-5
# Decay per step of batch normalization's running mean and variance, from 0 to 1. Keras's default is
# 0.99. A faster decay suffices here, because the EMA of the weights also averages these two.
NORM_MOMENTUM = 0.9


def build(classes: int) -> "keras.Model":
    """Build the inference network, which is saved and exported: a crop and nine layers.

    The input `pixels` is float32 (N, 28, 28, 1), from 0 (background) to 1 (ink). The output
    `scores` is float32 (N, classes), softmax probabilities. The network has 65,354 parameters for
    ten classes.

    Args:
        classes: number of classes.
    """
    import keras
    from keras import layers

    pixels = keras.Input(PIXELS_SHAPE, name="pixels")
    x = layers.Cropping2D(CROP_PX, name="crop")(pixels)
    for n, filters in enumerate(FILTERS, 1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv{n}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{n}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(HIDDEN_UNITS, activation="relu", name="hidden")(x)
    scores = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(pixels, scores, name="digits")


def build_trainable(classes: int, dropout: float = 0.0, seed: int = 0) -> "keras.Model":
    """Build the network to train; `fold_batch_norm` converts it to the network of `build`.

    Batch normalization is added to each convolution. The output is logits, float32 (N, classes),
    instead of probabilities; the input is that of `build`.

    Batch normalization follows the pooling, which leaves only a quarter of the values. It has no
    scale parameter, because the weights of the next layer can learn the scale. Therefore it only
    multiplies by a positive number and adds a constant. These two operations commute with max
    pooling, so batch normalization folds into the convolution exactly.

    Args:
        classes: number of classes.
        dropout: share of the hidden layer's values dropped in training, from 0 to below 1.
        seed: seed of the initial weights and of dropout.
    """
    import keras
    from keras import layers

    weights = keras.initializers.HeNormal
    pixels = keras.Input(PIXELS_SHAPE, name="pixels")
    x = layers.Cropping2D(CROP_PX, name="crop")(pixels)
    for n, filters in enumerate(FILTERS, 1):
        initial = weights(seed=initial_seed(seed, n))
        x = layers.Conv2D(filters, 3, use_bias=False, kernel_initializer=initial, name=f"conv{n}")(
            x
        )
        x = layers.MaxPooling2D(2, name=f"pool{n}")(x)
        x = layers.BatchNormalization(
            scale=False, momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=f"norm{n}"
        )(x)
        x = layers.ReLU(name=f"relu{n}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(
        HIDDEN_UNITS,
        activation="relu",
        kernel_initializer=weights(seed=initial_seed(seed, 4)),
        name="hidden",
    )(x)
    x = layers.Dropout(dropout, seed=seed, name="dropout")(x)
    last = keras.initializers.GlorotUniform(seed=initial_seed(seed, 5))
    logits = layers.Dense(classes, kernel_initializer=last, name="scores")(x)
    return keras.Model(pixels, logits, name="digits_in_training")


def initial_seed(seed: int, n: int) -> int:
    """Return the seed of a layer's initial weights, different for each layer and below 2^32.

    Args:
        seed: seed of the network.
        n: number of the layer, from 1 to 5: three convolutions and two dense layers.
    """
    return (seed * 10 + n) % 2**32


def fold_batch_norm(trained: "keras.Model", temperature: float = 1.0) -> "keras.Model":
    """Fold batch normalization into the convolutions, and the temperature into the last layer.

    Args:
        trained: a network built by `build_trainable`; it is not modified.
        temperature: number above 0 that the logits are divided by.

    Returns:
        A network as `build` builds it. Its scores are softmax(logits of `trained` / temperature).

    Raises:
        EdgeError: the temperature is not positive.
    """
    if not temperature > 0:
        raise EdgeError(f"the temperature must be above 0, not {temperature}")
    kernel, bias = trained.get_layer("scores").get_weights()
    model = build(len(bias))
    model.get_layer("scores").set_weights([kernel / temperature, bias / temperature])
    model.get_layer("hidden").set_weights(trained.get_layer("hidden").get_weights())
    for n in range(1, len(FILTERS) + 1):
        norm = trained.get_layer(f"norm{n}")
        shift, mean, variance = (np.asarray(w, np.float64) for w in norm.get_weights())
        factor = 1 / np.sqrt(variance + norm.epsilon)
        kernel = np.asarray(trained.get_layer(f"conv{n}").get_weights()[0], np.float64)
        folded = [kernel * factor, shift - mean * factor]
        model.get_layer(f"conv{n}").set_weights([w.astype(np.float32) for w in folded])
    return model
