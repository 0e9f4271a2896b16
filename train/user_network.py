"""Trains a network of the user: `digit-edge train --network FILE.py:FUNCTION`.

The function gets the input shape (height, width, channels) and the number of classes, and returns a
Keras model with one score for each class, as logits or with a softmax. Its input is pixels divided
by 255.
"""

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import EdgeError, first_line
from runtime.system import atomic_write
from train.model import Network
from train.save import to_bytes

if TYPE_CHECKING:
    import keras

_REMEDY = "return a Keras model that takes (N, {shape}) and returns (N, {classes})"


@dataclass(frozen=True)
class UserNetwork(Network):
    """A network that a function of the user builds.

    Attributes:
        name: FILE.py:FUNCTION, for messages and the spec.
        sha256: SHA-256 of the file, in hex.
        function: builds the network.
    """

    name: str = ""
    sha256: str = ""
    function: Callable[[tuple[int, int, int], int], Any] = field(
        default=lambda shape, classes: None, compare=False
    )

    @property
    def margin(self) -> int:
        """Pixels at each edge that the network crops: unknown, so 0."""
        return 0

    def trainable(self, classes: int, dropout: float = 0.0, seed: int = 0) -> "keras.Model":
        """Build the network without its softmax; the network decides on dropout itself.

        Raises:
            EdgeError: the function fails, or returns something else than such a network.
        """
        import keras

        model = self._built(classes)
        last = model.layers[-1]
        if isinstance(last, keras.layers.Softmax):
            return keras.Model(model.inputs, last.input)
        activation = getattr(last, "activation", keras.activations.linear)
        if activation is keras.activations.softmax:
            last.activation = keras.activations.linear
        elif activation is not keras.activations.linear:
            raise EdgeError(
                f"--network {self.name}: its last layer has the activation "
                f"{getattr(activation, '__name__', activation)}: return logits or a softmax"
            )
        return model

    def inference(self, trained: "keras.Model", temperature: float = 1.0) -> "keras.Model":
        """Return the trained network with the temperature folded in, and with a softmax.

        Raises:
            EdgeError: as `trainable`.
        """
        import keras

        model = self.trainable(trained.output_shape[-1])
        model.set_weights(trained.get_weights())
        logits, last = model.outputs[0], model.layers[-1]
        if isinstance(last, keras.layers.Dense):
            last.set_weights([weights / temperature for weights in last.get_weights()])
        else:
            logits = keras.layers.Rescaling(1 / temperature, name="temperature")(logits)
        scores = keras.layers.Softmax(name="scores")(logits)
        return keras.Model(model.inputs, scores, name=model.name)

    def check(self, classes: int) -> None:
        """Check that the network can be saved and opened again, before the training.

        Raises:
            EdgeError: it cannot, or as `trainable`.
        """
        import keras

        data = to_bytes(self.trainable(classes))
        try:
            with atomic_write.temporary_folder() as folder:
                copy = folder / "network.keras"
                copy.write_bytes(data)
                keras.saving.load_model(copy, compile=False)
        except (ValueError, TypeError, KeyError, AttributeError, ImportError, OSError) as error:
            raise EdgeError(
                f"--network {self.name}: the network cannot be saved and opened again "
                f"({first_line(error)}): use layers of Keras only"
            ) from error

    def _built(self, classes: int) -> "keras.Model":
        import keras

        shape = self.form.shape
        remedy = _REMEDY.format(shape=", ".join(map(str, shape)), classes=classes)
        try:
            model = self.function(shape, classes)
        except Exception as error:  # the user's code may raise anything
            raise EdgeError(
                f"--network {self.name} failed ({type(error).__name__}: {first_line(error)}): "
                f"correct the function; it is called with {shape} and {classes}"
            ) from error
        if not isinstance(model, keras.Model) or not model.layers or not model.built:
            raise EdgeError(
                f"--network {self.name} returned {type(model).__name__}, not a Keras model whose "
                f"input is known: {remedy}"
            )
        if (model.input_shape, model.output_shape) != ((None, *shape), (None, classes)):
            raise EdgeError(
                f"--network {self.name}: the network takes {model.input_shape} and returns "
                f"{model.output_shape}: {remedy}"
            )
        return model


def load(text: str, network: Network) -> UserNetwork:
    """Return the network of the value of --network.

    Args:
        text: FILE.py:FUNCTION.
        network: has the form of the images.

    Raises:
        EdgeError: the file cannot be run, or has no such function.
    """
    file, _, name = text.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not name:
        raise EdgeError(f"--network {text}: pass FILE.py:FUNCTION, such as network.py:build")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise EdgeError(
            f"--network {text}: cannot read {path} ({error.strerror or error}); check the path"
        ) from error
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        raise EdgeError(
            f"--network {text}: {path} cannot be run ({type(error).__name__}: "
            f"{first_line(error)}): correct the file"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise EdgeError(f"--network {text}: {path} has no function {name}: correct the name")
    return UserNetwork(network.form, text, hashlib.sha256(source).hexdigest(), function)
