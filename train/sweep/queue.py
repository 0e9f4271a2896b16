"""The queue of a sweep's runs, as an Optuna study that any number of processes share.

A process that has taken a run holds a lock on the run's folder, which the system frees if the
process is killed. The next process that looks for work then queues the run again.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from runtime.errors import EdgeError

_NAME = "sweep"  # of the study
_SEED = "seed"  # parameter of a trial besides the settings
_OPTIONS = "options"  # attribute of the study
_MAX_SETTING = 1e6  # no setting of a recipe may be larger


@dataclass(frozen=True)
class Cell:
    """One run: settings and a seed.

    Attributes:
        settings: (name, value) of each varied setting.
        seed: random seed.
    """

    settings: tuple[tuple[str, float], ...]
    seed: int

    @property
    def name(self) -> str:
        """The settings as text: `dropout=0.2 weight_decay=0.1`, or `recipe` without any."""
        return " ".join(f"{name}={value:.12g}" for name, value in self.settings) or "recipe"

    @property
    def folder(self) -> str:
        """Name of the folder of the run."""
        return f"{self.name.replace(' ', '_')}_seed={self.seed}"


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        cell: the run.
        accuracy: on the validation images, from 0 to 1.
        loss: on the validation images, in nats.
        test_accuracy: on the test images, from 0 to 1.
    """

    cell: Cell
    accuracy: float
    loss: float
    test_accuracy: float


class Queue:
    """The runs of a study.

    Args:
        folder: the folder of the study.
        storage: "sqlite", "journal" or a URL.
        options: everything besides the settings that decides the results.

    Raises:
        EdgeError: the study has other options, or the storage cannot be opened.
    """

    def __init__(self, folder: Path, storage: str, options: list[str]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._study = optuna.create_study(
                    storage=_open_storage(folder, storage),
                    study_name=_NAME,
                    direction="maximize",
                    load_if_exists=True,
                )
                stored = self._study.user_attrs.get(_OPTIONS)
                if stored is None:
                    self._study.set_user_attr(_OPTIONS, options)
        except OSError as error:
            raise EdgeError(
                f"cannot write {folder}: {error.strerror}; choose a folder with --out"
            ) from error
        except (ImportError, ValueError, SQLAlchemyError, OptunaError) as error:
            reason = " ".join(str(error).split())[:200]
            raise EdgeError(
                f"--storage {storage}: cannot be opened ({reason}); pass sqlite, journal or a URL"
            ) from error
        if stored is not None and stored != options:
            raise EdgeError(
                f"{folder}: its study has other options ({' '.join(stored) or 'none'}), not "
                f"{' '.join(options) or 'none'}: pass the same, or choose another --out"
            )

    def add(self, cells: Iterable[Cell]) -> None:
        """Queue the runs that the study does not have, and those that failed."""
        with self._locked():
            trials = self._study.get_trials(deepcopy=False)
            known = {_cell(trial) for trial in trials if trial.state != TrialState.FAIL}
            for cell in cells:
                if cell not in known:
                    self._enqueue(cell)

    @contextmanager
    def take(self) -> "Iterator[tuple[Cell, optuna.Trial] | None]":
        """Take a run that waits, for the block; None if none does.

        If the block ends by an exception, or the process is killed, the run waits again.
        """
        descriptor: int | None = None
        taken = None
        with self._locked():
            self._requeue_abandoned()
            if self._trials(TrialState.WAITING):  # otherwise `ask` would invent a run
                trial = self._study.ask()
                cell = _suggested(trial)
                descriptor = self._lock(cell)
                taken = cell, trial
        try:
            yield taken
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def finish(self, trial: "optuna.Trial", result: Result) -> None:
        """Record the result of a run."""
        trial.set_user_attr("loss", result.loss)
        trial.set_user_attr("test_accuracy", result.test_accuracy)
        self._study.tell(trial, result.accuracy)

    def fail(self, trial: "optuna.Trial") -> None:
        """Record that a run has failed."""
        self._study.tell(trial, state=TrialState.FAIL)

    def results(self) -> list[Result]:
        """Return the results of all finished runs."""
        return [
            Result(
                _cell(trial),
                float(trial.value or 0.0),
                trial.user_attrs["loss"],
                trial.user_attrs["test_accuracy"],
            )
            for trial in self._trials(TrialState.COMPLETE)
        ]

    def running(self) -> int:
        """Return the number of runs that processes have taken."""
        return len(self._trials(TrialState.RUNNING))

    def _trials(self, state: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(state,))

    def _enqueue(self, cell: Cell) -> None:
        self._study.enqueue_trial(
            {**dict(cell.settings), _SEED: cell.seed},
            user_attrs={"cell": [list(cell.settings), cell.seed]},
        )

    def _requeue_abandoned(self) -> None:
        for trial in self._trials(TrialState.RUNNING):
            cell = _cell(trial)
            try:
                descriptor = self._lock(cell)
            except BlockingIOError:
                continue
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._enqueue(cell)
            os.close(descriptor)

    def _lock(self, cell: Cell) -> int:
        """Lock the folder of a run; return the descriptor, which a child process inherits.

        Raises:
            BlockingIOError: another process has locked it.
        """
        folder = self._folder / cell.folder
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        os.set_inheritable(descriptor, True)
        return descriptor

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time change the queue."""
        descriptor = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _open_storage(folder: Path, storage: str) -> "optuna.storages.BaseStorage":
    if storage == "journal":
        return JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    url = f"sqlite:///{folder.absolute() / 'study.db'}" if storage == "sqlite" else storage
    return RDBStorage(url)


def _cell(trial: FrozenTrial) -> Cell:
    settings, seed = trial.user_attrs["cell"]
    return Cell(tuple((name, value) for name, value in settings), seed)


def _suggested(trial: "optuna.Trial") -> Cell:
    """Return the run of a trial from the queue, and record its parameters for Optuna's plots."""
    settings, seed = trial.user_attrs["cell"]
    for name, _ in settings:
        trial.suggest_float(name, 0.0, _MAX_SETTING)
    trial.suggest_int(_SEED, 0, 2**31 - 1)
    return Cell(tuple((name, value) for name, value in settings), seed)
