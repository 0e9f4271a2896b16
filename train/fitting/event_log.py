"""Write the history of a training as TensorBoard's event files.

`train.run` uses `EventLog` if `digit-edge train` has the option --log tensorboard.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import EdgeError
from train.checkpoint import Epoch

if TYPE_CHECKING:
    pass

# Field of `Epoch` → name of the curve. TensorBoard groups the curves by the text before the slash.
_CURVES = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "learning_rate": "learning rate",
    "seconds": "seconds per epoch",
}


class EventLog:
    """An event file in a folder; the event files of earlier runs in this folder are deleted.

    Args:
        folder: is created if it is missing. Pass it to `tensorboard --logdir`.

    Raises:
        EdgeError: the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._folder = folder
        self._written = 0  # number of epochs
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
            self._writer: tf.summary.SummaryWriter = tf.summary.create_file_writer(str(folder))
        except (OSError, tf.errors.OpError) as error:
            raise self._unwritable(error) from error

    def write(self, history: tuple[Epoch, ...]) -> None:
        """Write the epochs that are not written yet.

        Args:
            history: all epochs of the run.

        Raises:
            EdgeError: the file cannot be written.
        """
        import tensorflow as tf

        try:
            for epoch in history[self._written :]:
                for field, name in _CURVES.items():
                    # `tf.summary.scalar` would need the package tensorboard.
                    tf.raw_ops.WriteScalarSummary(
                        writer=self._writer._resource,
                        step=epoch.epoch,
                        tag=name,
                        value=float(getattr(epoch, field)),
                    )
            self._writer.flush()
        except (OSError, tf.errors.OpError) as error:
            raise self._unwritable(error) from error
        self._written = len(history)

    def _unwritable(self, error: Exception) -> EdgeError:
        reason = getattr(error, "strerror", None) or getattr(error, "message", error)
        return EdgeError(
            f"cannot write TensorBoard's files to {self._folder}: {reason}; choose another folder "
            "with --out, or leave out --log"
        )
