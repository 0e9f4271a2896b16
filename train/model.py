"""Builds the nine-layer CNN in two forms: with batch normalization to train, without to save.

`train.fitting.fit` trains the network of `build_trainable`. After training, `train.run` calls
`fold_batch_norm`, which converts it to the network of `build`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.errors import EdgeError
from runtime.preprocess.form import MNIST_FORM, Form

if TYPE_CHECKING:
    import keras

# Pixels cropped at each edge: the network sees the central 22 × 22 of 28 × 28 pixels. Each
# convolution shrinks a side by 2, and each pooling halves it: 22 → 20 → 10 → 8 → 4 → 2 → 1.
# From 28 pixels, the sides before the last two poolings would be odd (11 and 3). Pooling an odd
# side drops its last row and column.
CROP_PX = 3
MAX_DENSE_SIDE_PX = 48  # a longer side is halved by the stride of the first convolution
MAX_LAST_SIDE = 4  # height and width after the last pooling, at most
FILTERS = (32, 64, 64)  # of the three 3 × 3 convolutions
HIDDEN_UNITS = 128  # of the dense layer before the output
# Added to the variance in batch normalization, to prevent a division by zero. Keras's default of
# 1e-3 is not small against the variance of some channels; PyTorch also uses 1e-5.
NORM_EPSILON = 1e-5
# Decay per step of batch normalization's running mean and variance, from 0 to 1. Keras's default is
# 0.99. A faster decay suffices here, because the EMA of the weights also averages these two.
NORM_MOMENTUM = 0.9


class _Block(NamedTuple):
    """A convolution of 3 × 3 with max pooling; each pair is for height and width."""

    filters: int
    strides: tuple[int, int]
    pool: tuple[int, int]


def build(classes: int, form: Form = MNIST_FORM) -> "keras.Model":
    """Build the inference network, which is saved and exported.

    The input `pixels` is float32 (N, *form.shape), from 0 (background) to 1 (ink), or pixels of a
    photograph divided by 255. The output `scores` is float32 (N, classes), softmax probabilities.

    The network of 28×28 ink is a crop and nine layers. It has 65,354 parameters for ten classes.
    The network of any other form has the same nine layers without the crop, see `_blocks`.

    Args:
        classes: number of classes.
        form: the form of the pixels.
    """
    import keras
    from keras import layers

    pixels = keras.Input(form.shape, name="pixels")
    x = layers.Cropping2D(CROP_PX, name="crop")(pixels) if form == MNIST_FORM else pixels
    padding = _padding(form)
    for n, (filters, strides, pool) in enumerate(_blocks(form), 1):
        x = layers.Conv2D(
            filters, 3, strides=strides, padding=padding, activation="relu", name=f"conv{n}"
        )(x)
        x = layers.MaxPooling2D(pool, padding=padding, name=f"pool{n}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(HIDDEN_UNITS, activation="relu", name="hidden")(x)
    scores = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(pixels, scores, name="digits" if form == MNIST_FORM else "images")


def _padding(form: Form) -> str:
    """Return the padding of the convolutions and poolings."""
    return "valid" if form == MNIST_FORM else "same"


def _blocks(form: Form) -> list[_Block]:
    """Return the three blocks of the network.

    For any other form than MNIST's, padding keeps the sides, so that no pixel is dropped at any
    size. A side above 48 pixels is halved by the stride of the first convolution, and the last
    pooling leaves at most 4 pixels of a side. So the largest network, of 96×96 pixels, costs 12
    times as much as that of digits, and has at most 156,000 parameters for ten classes.
    """
    if form == MNIST_FORM:
        return [_Block(filters, (1, 1), (2, 2)) for filters in FILTERS]
    strides = tuple(2 if side > MAX_DENSE_SIDE_PX else 1 for side in form.size)
    quarters = (-(-side // (4 * stride)) for side, stride in zip(form.size, strides, strict=True))
    last = tuple(max(2, -(-quarter // MAX_LAST_SIDE)) for quarter in quarters)
    return [
        _Block(FILTERS[0], (strides[0], strides[1]), (2, 2)),
        _Block(FILTERS[1], (1, 1), (2, 2)),
        _Block(FILTERS[2], (1, 1), (last[0], last[1])),
    ]


def build_trainable(
    classes: int, dropout: float = 0.0, seed: int = 0, form: Form = MNIST_FORM
) -> "keras.Model":
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
        form: the form of the pixels.
    """
    import keras
    from keras import layers

    weights = keras.initializers.HeNormal
    pixels = keras.Input(form.shape, name="pixels")
    x = layers.Cropping2D(CROP_PX, name="crop")(pixels) if form == MNIST_FORM else pixels
    padding = _padding(form)
    for n, (filters, strides, pool) in enumerate(_blocks(form), 1):
        x = layers.Conv2D(
            filters,
            3,
            strides=strides,
            padding=padding,
            use_bias=False,
            kernel_initializer=weights(seed=initial_seed(seed, n)),
            name=f"conv{n}",
        )(x)
        x = layers.MaxPooling2D(pool, padding=padding, name=f"pool{n}")(x)
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


def fold_batch_norm(
    trained: "keras.Model", temperature: float = 1.0, form: Form = MNIST_FORM
) -> "keras.Model":
    """Fold batch normalization into the convolutions, and the temperature into the last layer.

    Args:
        trained: a network built by `build_trainable`; it is not modified.
        temperature: number above 0 that the logits are divided by.
        form: the form that `trained` was built for.

    Returns:
        A network as `build` builds it. Its scores are softmax(logits of `trained` / temperature).

    Raises:
        EdgeError: the temperature is not positive.
    """
    if not temperature > 0:
        raise EdgeError(f"the temperature must be above 0, not {temperature}")
    kernel, bias = trained.get_layer("scores").get_weights()
    model = build(len(bias), form)
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


def unfold_batch_norm(
    model: "keras.Model",
    trainable: "keras.Model",
    images: npt.NDArray[np.float32],
) -> None:
    """Set the weights of a network to train, so that it continues from a saved network.

    This inverts `fold_batch_norm` with the temperature 1. Batch normalization without a scale
    divides each channel by its standard deviation d > 0, and ReLU(x / d) = ReLU(x) / d. So
    multiplying the next layer's weights by d restores the logits. This is exact for the means and
    deviations of `images`, which become the moving averages.

    Args:
        model: a network of convolutions conv1, conv2, …, as `fold_batch_norm` returns it.
        trainable: the same network with batch normalization norm1, norm2, … and with logits.
        images: (N, H, W, channels) from 0 to 1, on which the means and deviations are measured.
    """
    import keras

    deviation: npt.NDArray[np.float64] | None = None
    for name in [layer.name for layer in model.layers if layer.get_weights()]:
        kernel, bias = model.get_layer(name).get_weights()
        if name.startswith("conv"):
            kernel = np.asarray(kernel, np.float64)
            if deviation is not None:
                kernel = _with_scaled_inputs(kernel, deviation)
            trainable.get_layer(name).set_weights([kernel.astype(np.float32)])
            norm = trainable.get_layer(name.replace("conv", "norm"))
            values = np.asarray(
                keras.Model(trainable.input, norm.input)(images, training=False), np.float64
            )
            axes = tuple(range(values.ndim - 1))
            mean, variance = values.mean(axes), values.var(axes)
            deviation = np.sqrt(variance + norm.epsilon)
            new = [(mean + bias) / deviation, mean, variance]
            norm.set_weights([weights.astype(np.float32) for weights in new])
            continue
        if deviation is not None:
            kernel, deviation = _with_scaled_inputs(kernel, deviation.astype(np.float32)), None
        trainable.get_layer(name).set_weights([kernel, bias])


def _with_scaled_inputs(
    kernel: npt.NDArray[np.floating], factors: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    """Multiply the weights of each input channel of a convolution or dense layer by its factor."""
    by_channel = kernel.reshape(-1, len(factors), kernel.shape[-1])
    return (by_channel * factors[:, None]).reshape(kernel.shape)


@dataclass(frozen=True)
class Network:
    """The network of a form, as `train.fitting.fit` trains it and `train.run` saves it.

    Attributes:
        form: the form of the pixels.
    """

    form: Form = MNIST_FORM

    @property
    def margin(self) -> int:
        """Pixels at each edge that the network crops."""
        return CROP_PX if self.form == MNIST_FORM else 0

    def trainable(self, classes: int, dropout: float = 0.0, seed: int = 0) -> "keras.Model":
        """Build the network to train, which returns logits; see `build_trainable`."""
        return build_trainable(classes, dropout, seed, self.form)

    def inference(self, trained: "keras.Model", temperature: float = 1.0) -> "keras.Model":
        """Convert a trained network to the one to save; see `fold_batch_norm`."""
        return fold_batch_norm(trained, temperature, self.form)
