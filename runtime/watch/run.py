"""python -m runtime.watch FOLDER: classifies each image that arrives in a folder, once."""

import sys
import time
from datetime import datetime, timezone

from runtime.errors import EdgeError, ImageError, report
from runtime.outputs import records, sinks
from runtime.outputs.records import Record
from runtime.reload import ReloadingClassifier
from runtime.system.service import ServiceLifecycle
from runtime.watch.folder import FolderScanner, NewImage
from runtime.watch.kill_counter import MAX_KILLS, KillCounter
from runtime.watch.seen_files import SeenFiles

# Looking shall not take more than this part of the time, however many images there are.
_LOOKING_SHARE = 0.2


def watch(
    arrivals: FolderScanner,
    reader: ReloadingClassifier,
    out: sinks.Sinks,
    memory: SeenFiles,
    kills: KillCounter,
    lifetime: ServiceLifecycle,
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


def _save(memory: SeenFiles, out: sinks.Sinks) -> None:
    """Save the images that were read, once all of their results are delivered."""
    if not out.waiting:
        memory.save()


def _read(
    arrival: NewImage, name: str, reader: ReloadingClassifier, kills: KillCounter
) -> Record | None:
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
