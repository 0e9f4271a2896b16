"""Checkpoints: the state of a training run after each epoch."""

import dataclasses
import io
import json
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import EdgeError
from runtime.system import atomic_write
from train.recipe import with_current_names

# What NumPy and zipfile raise on bytes that are no whole .npz; RuntimeError where it is encrypted.
DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; losses in nats, accuracies from 0 to 1."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a training run stands after some epochs.

    Attributes:
        settings: JSON of all that decides the outcome: a run goes on only under the same.
        history: one a completed epoch. Randomness is derived from (seed, epoch, step) and needs
            no state of its own.
        values: of all variables: the network's, the optimizer's, the averages.
    """

    settings: str
    history: tuple[Epoch, ...]
    values: tuple[npt.NDArray[np.generic], ...]


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint at `path` in one step: a kill leaves the old one or the new one."""
    record = {
        "settings": json.loads(checkpoint.settings),
        "history": [dataclasses.asdict(epoch) for epoch in checkpoint.history],
    }
    buffer = io.BytesIO()
    arrays = {f"value{n:03}": value for n, value in enumerate(checkpoint.values)}
    np.savez(buffer, record=np.array(json.dumps(record)), **arrays)
    atomic_write.write(path, buffer.getvalue())


def read(path: Path, settings: str) -> Checkpoint:
    """Read the checkpoint of a run with `settings`.

    Raises:
        EdgeError: it cannot be read, or it is of a run with other settings.
    """
    try:
        # Opened here: of a damaged archive NumPy would leave it open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            record = json.loads(str(archive["record"]))
            history = tuple(Epoch(**epoch) for epoch in record["history"])
            values = tuple(archive[f"value{n:03}"] for n in range(len(archive.files) - 1))
    except (*DAMAGED, KeyError, AttributeError) as error:
        raise EdgeError(
            f"cannot read the checkpoint {path} ({error}): start again without --resume"
        ) from error
    wanted, found = json.loads(settings), record["settings"]
    if isinstance(found.get("recipe"), dict):
        found["recipe"] = with_current_names(found["recipe"])
    if wanted != found:
        differing = ", ".join(
            f"{key} was {found.get(key)!r}, is {wanted.get(key)!r}"
            for key in sorted(wanted.keys() | found.keys())
            if wanted.get(key) != found.get(key)
        )
        raise EdgeError(
            f"{path} is of a run with other settings ({differing}): give the same to resume it, "
            "or start again without --resume"
        )
    return Checkpoint(settings, history, values)
