"""The main loop of `digit-edge watch`: classify each image that arrives in a folder, once.

Each round lists the folder, classifies the new images, or reads their numbers, and writes a record
of each digit or number to the sinks (the outputs). As soon as every sink has delivered the records
of an image, the image is saved in the state file. So a kill repeats only the results that were not
delivered to every sink.
"""

import sys
import time
from datetime import datetime, timezone

from runtime.classifier import Classifier
from runtime.errors import EdgeError, ImageError, printable, report
from runtime.numbers.read_regions import NumberReader, RegionError
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
    numbers: NumberReader | None = None,
) -> None:
    """Classify or read new images until the service is stopped by SIGTERM.

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
        numbers: reads the numbers of an image, one record each; None classifies one digit.

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
            found = _read(image, scanner.name(image.path), reader, kills, numbers)
            if found is None:
                scanner.defer(image)
            else:
                number = max(map(out.write, found))
                scanner.mark_done(image, number)
                if numbers is not None:
                    numbers.last_values.stage(number)
            save(seen_files, numbers, out.delivered)
            lifecycle.heartbeat()
        save(seen_files, numbers, out.delivered)


def save(seen_files: SeenFiles, numbers: NumberReader | None, delivered: int) -> None:
    """Save the images and the last values of delivered results.

    The last values come first: if the program is killed in between, the image is read again, and
    its numbers do not differ from the last values.

    Args:
        seen_files: the images that were processed.
        numbers: the numbers that were read; None if one digit is classified.
        delivered: number of delivered results.
    """
    if numbers is not None:
        numbers.last_values.save(delivered)
    seen_files.save(delivered)


def _read(
    image: NewImage,
    name: str,
    reader: ReloadingClassifier,
    kills: KillCounter,
    numbers: NumberReader | None,
) -> list[Record] | None:
    """Return the records of an image; None if the image is unreadable and may be incomplete."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    if kills.is_deadly(name, image.fingerprint):
        error = (
            f"{image.path}: skipped, because the program ended {MAX_KILLS} times while it read "
            "this image; check the image, and copy it into the folder again to have it read"
        )
        return [{"image": image.path, "error": error, "time": now}]
    reader.reload_if_replaced()  # before, because a model that ends the program is not the image's
    kills.begin(name, image.fingerprint)
    try:
        found, backend = reader.run(lambda c: (_records(image.path, c, numbers), c.backend.name))
    except ImageError as error:
        kills.end(name, image.fingerprint)
        if not image.last and not isinstance(error, RegionError):
            return None
        return [{"image": image.path, "error": str(error), "time": now}]
    except KeyboardInterrupt:
        kills.end(name, image.fingerprint)
        raise
    kills.end(name, image.fingerprint)
    return [{**record, "backend": backend, "time": now} for record in found]


def _records(path: str, classifier: Classifier, numbers: NumberReader | None) -> list[Record]:
    """Return the record of the digit in an image, or of each number."""
    if numbers is None:
        return [records.describe(path, classifier.classify(path), classifier.spec.labels)]
    readings = numbers.read(classifier, path)
    return [{"image": path, **numbers.record(numbers.check(reading))} for reading in readings]
