"""Teachers: larger networks, from whose answers the published network learns."""

from typing import TYPE_CHECKING

from train.model import CROP_PX, EPSILON, INPUT_SHAPE, MOMENTUM, initial_seed

if TYPE_CHECKING:
    import keras

# Six times the parameters of the nine layers, and three times their work.
FILTERS = (32, 64, 96, 128, 128)
HIDDEN = 128


def build_teacher(classes: int, dropout: float = 0.0, seed: int = 0) -> "keras.Model":
    """Build a teacher: five convolutions with batch normalisation, and only one pooling.

    Takes float32 (N, 28, 28, 1) from 0 to 1, answers logits (N, classes).
    """
    import keras
    from keras import layers

    weights = keras.initializers.HeNormal
    pixels = keras.Input(INPUT_SHAPE, name="pixels")
    x = layers.Cropping2D(CROP_PX, name="crop")(pixels)
    for n, filters in enumerate(FILTERS, 1):
        initial = weights(seed=initial_seed(seed, n))
        x = layers.Conv2D(filters, 3, use_bias=False, kernel_initializer=initial, name=f"conv{n}")(
            x
        )
        if n == 1:
            x = layers.MaxPooling2D(2, name="pool")(x)
        x = layers.BatchNormalization(
            scale=False, momentum=MOMENTUM, epsilon=EPSILON, name=f"norm{n}"
        )(x)
        x = layers.ReLU(name=f"relu{n}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(dropout, seed=seed, name="dropout1")(x)
    first = weights(seed=initial_seed(seed, 6))
    x = layers.Dense(HIDDEN, activation="relu", kernel_initializer=first, name="hidden")(x)
    x = layers.Dropout(dropout, seed=seed + 1, name="dropout2")(x)
    last = keras.initializers.GlorotUniform(seed=initial_seed(seed, 7))
    logits = layers.Dense(classes, kernel_initializer=last, name="scores")(x)
    return keras.Model(pixels, logits, name="teacher")
