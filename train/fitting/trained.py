"""Opens trained networks: teachers of the network in training, or those that it starts from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import EdgeError, first_line
from runtime.model import artifact
from runtime.model.spec import CLASSES, ModelSpec
from runtime.preprocess.form import Form

if TYPE_CHECKING:
    import keras


def load_trained(
    option: str, path: Path, form: Form, labels: tuple[str, ...]
) -> tuple[ModelSpec, "keras.Model"]:
    """Open a trained network of the same form and classes as the network in training.

    Args:
        option: the option that names the file, for messages.
        path: a `.keras` file that `digit-edge train` wrote.
        form: the form of the pixels that the network must take.
        labels: the classes that the network must have, in this order.

    Returns:
        The spec, and the network, which returns softmax scores.

    Raises:
        EdgeError: the file is not such an artifact, or has another form or other classes.
    """
    import keras

    spec = artifact.read(path).spec
    if path.suffix != ".keras" or spec.kind != CLASSES or spec.interface is not None:
        raise EdgeError(f"{option} {path}: pass a .keras file that digit-edge train wrote")
    if spec.pixel_form != form:
        raise EdgeError(
            f"{option} {path} takes images of {spec.pixel_form}, and this training uses "
            f"{form}: pass a network trained with the same --size, --color and --form"
        )
    if spec.labels != labels:
        raise EdgeError(
            f"{option} {path} has other classes than the data: pass a network trained on the same "
            "classes"
        )
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, ImportError) as error:
        raise EdgeError(
            f"{option} {path}: Keras cannot open it ({first_line(error)}): train it again"
        ) from error
    return spec, model


def load_start(
    paths: Sequence[Path], form: Form, labels: tuple[str, ...]
) -> tuple[tuple[str, ...], "keras.Model"]:
    """Open the networks that a training starts from, and average their weights.

    The mean of networks that were fine-tuned from the same one is often more accurate than each of
    them (model soup): Wortsman et al., "Model soups: averaging weights of multiple fine-tuned
    models improves accuracy without increasing inference time", 2022.

    Args:
        paths: at least one file; see `load_trained`.
        form: see `load_trained`.
        labels: see `load_trained`.

    Returns:
        The digests of the files, and a network with the mean weights. Its logits are not divided by
        a temperature.

    Raises:
        EdgeError: see `load_trained`; or the networks have different layers.
    """
    opened = [load_trained("--start-from", path, form, labels) for path in paths]
    all_weights = []
    for spec, network in opened:
        weights = network.get_weights()
        # The last layer's weights and biases contain the temperature.
        weights[-2:] = [values * spec.temperature for values in weights[-2:]]
        all_weights.append(weights)
    shapes = [[values.shape for values in weights] for weights in all_weights]
    if any(other != shapes[0] for other in shapes):
        raise EdgeError(
            f"--start-from {paths[-1]} has other layers than {paths[0]}: their weights have no mean"
        )
    model = opened[-1][1]
    model.set_weights([np.mean(values, axis=0) for values in zip(*all_weights, strict=True)])
    return tuple(spec.digest for spec, _ in opened), model
