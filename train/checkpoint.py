"""Writes and reads checkpoints: an .npz with the variables and the history of a training run.

`train.fitting.fit` writes a checkpoint after each epoch, and reads it to resume an interrupted run.
"""

import dataclasses
import io
import json
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import EdgeError
from runtime.system import atomic_write
from train.recipe import with_current_names

# The exceptions that NumPy and zipfile raise for a damaged .npz. Here and in
# `train.data.formats.npz` each becomes an EdgeError that names the file.
DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,  # zipfile: the archive is encrypted
    SyntaxError,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch: a row of the history.

    Attributes:
        epoch: number of the epoch, from 1.
        train_loss: mean loss on the augmented training images, in nats.
        train_accuracy: accuracy on the augmented training images, from 0 to 1.
        val_loss: mean loss on the validation images, in nats.
        val_accuracy: accuracy on the validation images, from 0 to 1.
        learning_rate: learning rate at the end of the epoch.
        seconds: duration of the training and the validation of this epoch.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a training run after some epochs.

    No random state is stored: all randomness is derived from (seed, epoch, step).

    Attributes:
        settings: JSON object of everything that determines the result. A run can only be resumed
            with the same settings.
        history: one entry per completed epoch.
        values: the values of all variables: those of the network, of its moving average and of the
            optimizer, in this order.
    """

    settings: str
    history: tuple[Epoch, ...]
    values: tuple[npt.NDArray[np.generic], ...]


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint at `path` atomically: a kill leaves the old file or the new one.

    Raises:
        EdgeError: the file cannot be written.
    """
    record = {
        "settings": json.loads(checkpoint.settings),
        "history": [dataclasses.asdict(epoch) for epoch in checkpoint.history],
    }
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"value{n:03}": value for n, value in enumerate(checkpoint.values)}
    np.savez(buffer, record=np.array(json.dumps(record)), **arrays)
    atomic_write.write(path, buffer.getvalue())


def read(path: Path, settings: str) -> Checkpoint:
    """Read the checkpoint of a run.

    Args:
        path: file of the checkpoint.
        settings: the settings of the run to resume, as in `Checkpoint`. Former names of settings
            in the file count as the current names.

    Raises:
        EdgeError: the file is missing, damaged or unreadable, or has other settings.
    """
    try:
        # Open the file here: NumPy would leave the file open if the archive is damaged.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            record = json.loads(str(archive["record"]))
            history = tuple(Epoch(**epoch) for epoch in record["history"])
            values = tuple(archive[f"value{n:03}"] for n in range(len(archive.files) - 1))
    except (*DAMAGED, KeyError, AttributeError) as error:
        raise EdgeError(
            f"cannot read the checkpoint {path} ({error}): start again without --resume"
        ) from error
    current, stored = json.loads(settings), record["settings"]
    if isinstance(stored.get("recipe"), dict):
        stored["recipe"] = with_current_names(stored["recipe"])
    if current != stored:
        differing = ", ".join(
            f"{key} was {stored.get(key)!r}, is {current.get(key)!r}"
            for key in sorted(current.keys() | stored.keys())
            if current.get(key) != stored.get(key)
        )
        raise EdgeError(
            f"{path}: its training run had other settings ({differing}): pass the same settings "
            "to resume it, or start again without --resume"
        )
    return Checkpoint(settings, history, values)
