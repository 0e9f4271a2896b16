"""The main loop of `digit-edge watch`: classify each image that arrives in a folder, once.

Each round lists the folder, classifies the new images and writes a record of each to the sinks (the
outputs). As soon as every sink has delivered the record of an image, the image is saved in the
state file. So a kill repeats only the results that were not delivered to every sink.
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

# Largest share of the time spent on scans of the folder. After a slow scan, the pause is extended
# beyond `interval_s` to keep this share.
_MAX_SCAN_SHARE = 0.2


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
    """Classify new images until the service is stopped by SIGTERM.

    The record of an unreadable image has the key "error" instead of a label. A missing folder is
    reported once on stderr; the loop continues until the folder is back.

    Args:
        scanner: finds the new images.
        reader: the classifier, which reloads a replaced model file.
        out: receives the records.
        seen_files: the images that were processed; saved when their results are delivered.
        kills: counts how often reading an image killed the program.
        lifecycle: receives SIGTERM, which ends the loop, and sends heartbeats to systemd.
        folder: name of the folder, for messages.
        interval_s: smallest pause between two scans, in seconds, more than 0.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        BrokenPipeError: standard output is a pipe that its reader has closed.
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
                report(EdgeError(f"{folder} cannot be read any more: waiting until it is back"))
        for image in images or []:
            # A full sink would drop results. The images stay in the folder for a later scan.
            if out.full or lifecycle.stopping:
                break
            record = _read(image, scanner.name(image.path), reader, kills)
            if record is None:
                scanner.defer(image)
            else:
                scanner.mark_done(image, out.write(record))
            seen_files.save(out.delivered)
            lifecycle.heartbeat()
        seen_files.save(out.delivered)


def _read(
    image: NewImage, name: str, reader: ReloadingClassifier, kills: KillCounter
) -> Record | None:
    """Return the record of an image; None if the image is unreadable and may be incomplete."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    if kills.is_deadly(name, image.fingerprint):
        error = (
            f"{image.path}: skipped, because the program ended {MAX_KILLS} times while it read "
            "this image; check the image, and copy it into the folder again to have it read"
        )
        return {"image": image.path, "error": error, "time": now}
    reader.reload_if_replaced()  # before, because a model that ends the program is not the image's
    kills.begin(name, image.fingerprint)
    try:
        prediction, classifier = reader.run(lambda c: (c.classify(image.path), c))
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
