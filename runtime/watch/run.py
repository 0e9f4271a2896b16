"""python -m runtime.watch FOLDER: classifies each image that arrives in a folder, once."""

import argparse
import math
import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from runtime.cli import options
from runtime.errors import EdgeError, ImageError, exit_status, report
from runtime.outputs import records, sinks
from runtime.outputs.records import Record
from runtime.reload import Reloading
from runtime.system.service import Lifetime
from runtime.watch.folder import Arrival, Arrivals, Memory
from runtime.watch.kill_counter import MAX_KILLS, KillCounter

# Looking shall not take more than this part of the time, however many images there are.
_LOOKING_SHARE = 0.2


def main(argv: list[str] | None = None) -> int:
    """Watch until SIGTERM, which is 0, or Ctrl-C, 130."""
    arguments = parse_args(argv)
    folder = arguments.folder
    if not os.path.isdir(folder):
        reason = "it is no folder" if os.path.exists(folder) else "there is no such folder"
        raise EdgeError(f"cannot watch {folder}: {reason}; make it, or give another")
    reader = Reloading(
        arguments.model,
        backend=arguments.backend,
        threads=arguments.threads,
        device=arguments.device,
    )
    state = _state_file(arguments)
    memory = _memory(arguments, state)
    kills = KillCounter(None if memory.file is None else state.with_name(f"{state.name}.reading"))
    arrivals = Arrivals(folder, arguments.settle, memory)
    if memory.is_new and not arguments.existing:
        arrivals.pass_over()
        memory.save()
    with Lifetime() as lifetime:
        with sinks.open_sinks(arguments) as out:
            lifetime.ready(f"watching {folder}")
            watch(arrivals, reader, out, memory, kills, lifetime, folder, arguments.interval)
        memory.save()  # every result has reached its place, else this is not reached
    return 0


def watch(
    arrivals: Arrivals,
    reader: Reloading,
    out: sinks.Sinks,
    memory: Memory,
    kills: KillCounter,
    lifetime: Lifetime,
    folder: str,
    interval_s: float,
) -> None:
    """Classify what arrives, until the lifetime ends."""
    there = True
    pause_s = 0.0
    while lifetime.wait(pause_s):
        began = time.monotonic()
        found = arrivals.look()
        looking_s = time.monotonic() - began
        pause_s = max(interval_s, looking_s * (1 / _LOOKING_SHARE - 1))
        if (found is not None) != there:
            there = found is not None
            if there:
                print(f"{folder} is back", file=sys.stderr)
            else:
                report(EdgeError(f"{folder} cannot be read any more: waiting for it to come back"))
        for arrival in found or []:
            # The images stay where they are: waiting loses none, and a full sink would.
            if out.full or lifetime.stopping:
                break
            record = _read(arrival, arrivals.name(arrival.path), reader, kills)
            if record is None:
                arrivals.put_off(arrival)
            else:
                out.write(record)
                arrivals.done(arrival)
            _save(memory, out)
            lifetime.alive()
        _save(memory, out)


def _save(memory: Memory, out: sinks.Sinks) -> None:
    """Save the images that were read, once all of their results are delivered."""
    if not out.waiting:
        memory.save()


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.watch",
        description="Classify each image that arrives in a folder or below it, once, also when it "
        "is written slowly or renamed into place, and print a JSON object for each.",
        epilog="Hidden files and those without an image's suffix (like .part) are passed over. "
        "Exit status: 0 ended by SIGTERM, 2 the folder or the model cannot be read.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="where the images arrive")
    options.add_model_arguments(parser)
    parser.add_argument(
        "--existing",
        action="store_true",
        help="the first time, classify what is there already too",
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=0.5,
        metavar="S",
        help="an image is whole when it has not changed for S seconds (default: 0.5); one that "
        "cannot be read is given up after ten times that",
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=0.25,
        metavar="S",
        help="look every S seconds (default: 0.25)",
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        help="where to remember what was classified, so that a restart goes on with what has "
        "arrived meanwhile (default: one for each folder in $STATE_DIRECTORY, else in "
        "~/.local/state/digit-edge)",
    )
    sinks.add_arguments(parser)
    arguments = parser.parse_args(argv)
    if not (0 <= arguments.settle < math.inf and 0 < arguments.interval < math.inf):
        parser.error("--settle takes 0 or more seconds, --interval more than 0")
    return arguments


def _memory(arguments: argparse.Namespace, state: Path) -> Memory:
    try:
        return Memory(state)
    except EdgeError as error:
        if arguments.state is not None:
            raise
        report(EdgeError(f"{error}. Without it, images that arrive between two runs are not read"))
        return Memory(None)


def _state_file(arguments: argparse.Namespace) -> Path:
    from hashlib import sha256

    if arguments.state is not None:
        return Path(arguments.state)
    absolute = os.path.realpath(arguments.folder)
    name = f"watch-{sha256(os.fsencode(absolute)).hexdigest()[:16]}.jsonl"
    # What systemd gives a service by StateDirectory=; of several, the first.
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given) / name
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "digit-edge" / name


def _read(arrival: Arrival, name: str, reader: Reloading, kills: KillCounter) -> Record | None:
    """Return the record of an image; None if it may not be whole yet."""
    classifier = reader.classifier
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    if kills.is_deadly(name, arrival.stamp):
        error = (
            f"{arrival.path}: the program ended {MAX_KILLS} times while it read this image; "
            "it is skipped: check it, and copy it here again to have it read"
        )
        return {"image": arrival.path, "error": error, "time": now}
    kills.begin(name, arrival.stamp)
    try:
        prediction = classifier.classify(arrival.path)
    except ImageError as error:
        kills.end(name, arrival.stamp)
        if not arrival.last:
            return None
        return {"image": arrival.path, "error": str(error), "time": now}
    except KeyboardInterrupt:
        kills.end(name, arrival.stamp)
        raise
    kills.end(name, arrival.stamp)
    record = records.describe(arrival.path, prediction, classifier.spec.labels)
    return {**record, "backend": classifier.backend.name, "time": now}


if __name__ == "__main__":
    sys.exit(exit_status(main))
