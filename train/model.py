"""The nine layers: as they are trained, and as they are saved."""

from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import EdgeError
from runtime.preprocess.mnist_format import PIXELS_SHAPE

if TYPE_CHECKING:
    import keras

# With Keras's padding 28 → 26 → 13 → 11 → 5 → 3 → 1, and every pooling of an odd size drops a row
# and a column: the network would be blind to six of each. 22 → 20 → 10 → 8 → 4 → 2 → 1 drops none.
CROP_PX = 3
FILTERS = (32, 64, 64)
HIDDEN = 128
# Keras's 1e-3 would shift activations of small variance; 1e-5 is what PyTorch and the paper use.
EPSILON = 1e-5
# Of the running mean and variance: short, for the average over the weights is long enough.
MOMENTUM = 0.9


def build(classes: int) -> "keras.Model":
    """Build the inference network: nine layers behind a crop, as it is saved.

    Input `pixels`: float32 (N, 28, 28, 1) from 0 (background) to 1 (ink).
    Output `scores`: float32 (N, classes), softmax. 65,354 parameters for ten classes.
    """
    import keras
    from keras import layers

    pixels = keras.Input(PIXELS_SHAPE, name="pixels")
    x = layers.Cropping2D(CROP_PX, name="crop")(pixels)
    for n, filters in enumerate(FILTERS, 1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv{n}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{n}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(HIDDEN, activation="relu", name="hidden")(x)
    scores = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(pixels, scores, name="digits")


def build_trainable(classes: int, dropout: float = 0.0, seed: int = 0) -> "keras.Model":
    """Build the network that is trained; `fold_batch_norm` turns it into that of `build`.

    Each convolution is followed by batch normalization, and the output is logits. Normalization
    stands behind the pooling, where there is a quarter of the work: without a scale of its own
    (the next layer has one) it only shifts and multiplies by something positive, so it commutes
    with the maximum and with ReLU, and folds into the convolution exactly.
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
            scale=False, momentum=MOMENTUM, epsilon=EPSILON, name=f"norm{n}"
        )(x)
        x = layers.ReLU(name=f"relu{n}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(
        HIDDEN,
        activation="relu",
        kernel_initializer=weights(seed=initial_seed(seed, 4)),
        name="hidden",
    )(x)
    x = layers.Dropout(dropout, seed=seed, name="dropout")(x)
    last = keras.initializers.GlorotUniform(seed=initial_seed(seed, 5))
    logits = layers.Dense(classes, kernel_initializer=last, name="scores")(x)
    return keras.Model(pixels, logits, name="digits_in_training")


def initial_seed(seed: int, n: int) -> int:
    """A seed of its own for each layer's first weights; Keras's have 32 bits."""
    return (seed * 10 + n) % 2**32


def fold_batch_norm(trained: "keras.Model", temperature: float = 1.0) -> "keras.Model":
    """Fold normalization into the convolutions, and the temperature into the last layer.

    The result is `build(classes)` and answers softmax(logits of `trained` / temperature).

    Raises:
        EdgeError: the temperature is not positive.
    """
    if not temperature > 0:
        raise EdgeError(f"a temperature of {temperature} is not positive")
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
