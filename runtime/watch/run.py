"""Classifies each image that arrives in a folder, once: the main loop of `runtime.watch`.

Each round scans the folder, classifies the new images, writes their records to the sinks and saves
which images were processed.
"""

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

_MAX_SCAN_SHARE = 0.2  # of the time; if a scan is slow, the pause after it is extended


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
    """Classify new images until the service is stopped.

    Args:
        scanner: finds the new images.
        reader: the classifier, which reloads a replaced model.
        out: receives the records.
        seen_files: the images that were processed; saved once their results are delivered.
        kills: counts images that killed the program.
        lifecycle: of the service; ends the loop.
        folder: name of the folder, for messages.
        interval_s: minimum pause between two scans, in seconds.
    """
    readable = True
    pause_s = 0.0
    while lifecycle.wait(pause_s):
        started = time.monotonic()
        images = scanner.scan()
        scan_s = time.monotonic() - started
        pause_s = max(interval_s, scan_s * (1 / _MAX_SCAN_SHARE - 1))
        if (images is not None) != readable:
            readable = images is not None
            if readable:
                print(f"{printable(str(folder))} is back", file=sys.stderr)
            else:
                report(EdgeError(f"{folder} cannot be read any more: waiting for it to come back"))
        for image in images or []:
            # A full sink would drop results; the images stay in the folder for the next scan.
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
    """Save which images were processed, if all of their results are delivered."""
    if not out.waiting:
        seen_files.save()


def _read(
    image: NewImage, name: str, reader: ReloadingClassifier, kills: KillCounter
) -> Record | None:
    """Return the record of an image; None if it is unreadable and may be incomplete."""
    classifier = reader.classifier
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    if kills.is_deadly(name, image.fingerprint):
        error = (
            f"{image.path}: skipped, because the program ended {MAX_KILLS} times while it read "
            "this image; check it, and copy it again to have it read"
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
