"""Classifies each image that arrives in a folder, once."""

import sys
import time
from datetime import datetime, timezone

from runtime.errors import EdgeError, ImageError, printable, report
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
    scanner: FolderScanner,
    reader: ReloadingClassifier,
    out: sinks.Sinks,
    seen_files: SeenFiles,
    kills: KillCounter,
    lifecycle: ServiceLifecycle,
    folder: str,
    interval_s: float,
) -> None:
    """Classify what arrives, until the service is told to stop."""
    there = True
    pause_s = 0.0
    while lifecycle.wait(pause_s):
        began = time.monotonic()
        found = scanner.scan()
        looking_s = time.monotonic() - began
        pause_s = max(interval_s, looking_s * (1 / _LOOKING_SHARE - 1))
        if (found is not None) != there:
            there = found is not None
            if there:
                print(f"{printable(str(folder))} is back", file=sys.stderr)
            else:
                report(EdgeError(f"{folder} cannot be read any more: waiting for it to come back"))
        for image in found or []:
            # The images stay where they are: waiting loses none, and a full sink would.
            if out.full or lifecycle.stopping:
                break
            record = _read(image, scanner.name(image.path), reader, kills)
            if record is None:
                scanner.defer(image)
            else:
                out.write(record)
                scanner.mark_done(image)
            _save(seen_files, out)
            lifecycle.heartbeat()
        _save(seen_files, out)


def _save(seen_files: SeenFiles, out: sinks.Sinks) -> None:
    """Save the images that were read, once all of their results are delivered."""
    if not out.waiting:
        seen_files.save()


def _read(
    image: NewImage, name: str, reader: ReloadingClassifier, kills: KillCounter
) -> Record | None:
    """Return the record of an image; None if it may not be whole yet."""
    classifier = reader.classifier
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    if kills.is_deadly(name, image.fingerprint):
        error = (
            f"{image.path}: the program ended {MAX_KILLS} times while it read this image; "
            "it is skipped: check it, and copy it here again to have it read"
        )
        return {"image": image.path, "error": error, "time": now}
    kills.begin(name, image.fingerprint)
    try:
        prediction = classifier.classify(image.path)
    except ImageError as error:
        kills.end(name, image.fingerprint)
        if not image.last:
            return None
        return {"image": image.path, "error": str(error), "time": now}
    except KeyboardInterrupt:
        kills.end(name, image.fingerprint)
        raise
    kills.end(name, image.fingerprint)
    record = records.describe(image.path, prediction, classifier.spec.labels)
    return {**record, "backend": classifier.backend.name, "time": now}
