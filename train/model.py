"""Builds the nine-layer CNN, to train it and to save it, and folds its batch normalization."""

from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import EdgeError
from runtime.preprocess.mnist_format import PIXELS_SHAPE

if TYPE_CHECKING:
    import keras

# Cropped at each edge, from 28 to 22 pixels. From 28 the sizes would be 28 → 26 → 13 → 11 → 5 → 3
# → 1; pooling an odd size drops a row and a column, so six of each would never be seen. From 22
# the sizes are 22 → 20 → 10 → 8 → 4 → 2 → 1, and none is dropped.
CROP_PX = 3
FILTERS = (32, 64, 64)  # of the three 3 × 3 convolutions
HIDDEN_UNITS = 128  # of the dense layer before the output
# Added to the variance in batch normalization. Keras's default of 1e-3 would change channels of
# small variance; PyTorch uses 1e-5.
NORM_EPSILON = 1e-5
# Decay per step of batch normalization's running mean and variance. Keras's default is 0.99; a
# short average suffices, as the EMA of the weights also averages it.
NORM_MOMENTUM = 0.9


def build(classes: int) -> "keras.Model":
    """Build the inference network, which is saved and exported: a crop and nine layers.

    Input `pixels`: float32 (N, 28, 28, 1) from 0 (background) to 1 (ink).
    Output `scores`: float32 (N, classes), softmax probabilities.
    It has 65,354 parameters for ten classes.

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

    It adds batch normalization to each convolution, and its output is logits, float32 (N, classes).
    Normalization follows the pooling, which leaves it a quarter of the values. It has no scale
    parameter (the next layer makes up for it), so it only multiplies by a positive number and
    adds a constant. Therefore it commutes with max pooling and folds into the convolution exactly.

    Args:
        classes: number of classes.
        dropout: share of the hidden layer's values dropped in training.
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
    """Return the seed of layer `n`'s initial weights, different for each layer and below 2^32."""
    return (seed * 10 + n) % 2**32


def fold_batch_norm(trained: "keras.Model", temperature: float = 1.0) -> "keras.Model":
    """Fold batch normalization into the convolutions, and the temperature into the last layer.

    Args:
        trained: a network built by `build_trainable`.
        temperature: divides the logits.

    Returns:
        A network as `build` builds it, whose scores are softmax(logits of `trained` /
        temperature).

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
