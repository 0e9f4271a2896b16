"""Trains the runs of a sweep that no process has trained, one after another.

`digit-edge train-sweep` calls `run`.
"""

import operator
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

from runtime.errors import BAD_INPUT, EdgeError, plural, printable
from runtime.model import artifact
from runtime.system import atomic_write, interrupt
from runtime.system.own_modules import module_command, own_name
from train.recipe import Recipe
from train.sweep import table
from train.sweep.queue import Cell, Queue, Result

_POLL_S = 0.2  # between two looks for Ctrl-C
_LOG_CHARACTERS = 300  # of the end of a log that are printed if a run failed


def run(
    folder: Path,
    storage: str,
    recipe: Recipe,
    varied: dict[str, list[str]],
    seeds: int,
    arguments: list[str],
) -> int:
    """Train each combination of settings with each seed; print and write the table.

    Args:
        folder: the folder of the study; it has a folder for each run, table.md and runs.csv.
        storage: where Optuna keeps the study: "sqlite", "journal" or a URL.
        recipe: the recipe to vary.
        varied: name of a setting → the values to train with.
        seeds: number of seeds.
        arguments: of `digit-edge train`, the same in every run.

    Returns:
        0, or 2 if a run failed.

    Raises:
        EdgeError: the study has other options, or a file cannot be read or written.
    """
    queue = Queue(folder, storage, arguments)
    default = tuple((name, float(operator.attrgetter(name)(recipe))) for name in varied)
    settings = dict.fromkeys(
        (
            default,
            *(
                tuple(zip(varied, map(float, values), strict=True))
                for values in product(*varied.values())
            ),
        )
    )
    # By seed first: with a few seeds done, all settings can be compared.
    cells = [Cell(chosen, seed) for seed in range(seeds) for chosen in settings]
    queue.add(cells)
    failed = 0
    while True:
        with queue.take() as taken:
            if taken is None:
                break
            cell, trial = taken
            start_s = time.monotonic()
            result = _train(folder, cell, arguments)
            if result is None:
                failed += 1
                queue.fail(trial)
                continue
            queue.finish(trial, result)
        done = sum(found.cell in set(cells) for found in queue.results())
        print(
            f"{printable(cell.name)} seed {cell.seed}: validation accuracy "
            f"{100 * result.accuracy:.2f} %, loss {result.loss:.4f}; "
            f"{time.monotonic() - start_s:.0f} s; {done} of {len(cells)} runs done",
            flush=True,
        )
    results = queue.results()
    text = table.table(results, default)
    atomic_write.write(folder / "table.md", text)
    atomic_write.write(folder / "runs.csv", table.raw(results))
    print(text, end="")
    if running := queue.running():
        print(f"{plural(running, 'run')} of other processes not finished", file=sys.stderr)
    return BAD_INPUT if failed else 0


def _train(folder: Path, cell: Cell, arguments: list[str]) -> Result | None:
    """Train one run, or continue it from its checkpoint; return None if it failed."""
    out = folder / cell.folder / "digits.keras"
    settings = [f"--set={name}={value:.12g}" for name, value in cell.settings]
    command = module_command(
        own_name("train"),
        *arguments, *settings, "--seed", str(cell.seed), "--out", str(out), "--resume",
    )  # fmt: skip
    log = out.with_name("log.txt")
    with log.open("ab") as file, interrupt.deferred():
        # The child inherits the lock of the run, so that nobody else takes it while it lives.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            close_fds=False,
        )
        with interrupt.child(process.pid):
            status = _wait(process)
    if status != 0:
        end = log.read_text(errors="replace").strip()[-_LOG_CHARACTERS:]
        last = end.splitlines()[-1] if end else f"exit status {status}"
        print(
            printable(f"{cell.name} seed {cell.seed} failed: {last} (see {log})"), file=sys.stderr
        )
        return None
    spec = artifact.read(out).spec
    provenance = dict(spec.provenance)
    if spec.metrics is None:
        raise EdgeError(f"{out} has no accuracy: train it again in another --out")
    return Result(
        cell,
        float(provenance["validation accuracy"]),
        float(provenance["validation loss"]),
        spec.metrics.test_accuracy,
    )


def _wait(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a training; interrupt it if Ctrl-C has arrived."""
    try:
        while True:
            interrupt.check()
            try:
                return process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                continue
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
