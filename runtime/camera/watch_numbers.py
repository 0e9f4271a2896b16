"""Read the numbers of each frame, and report those that change: `digit-edge camera --read`.

`runtime.camera.run` calls `NumberWatcher` for each frame.
"""

from typing import Any

from PIL import Image

from runtime.camera.debounce import ChangeDebouncer
from runtime.camera.preview import draw_numbers
from runtime.camera.sources import FrameArray
from runtime.classifier import Classifier
from runtime.numbers.read_regions import NO_DIGITS, NumberReader, NumberReading

_REJECTED = "?"  # the state of a region whose reading is rejected, whatever its digits are


class NumberWatcher:
    """Reads the regions of each frame; see `runtime.camera.run.FrameWatcher`.

    Args:
        reader: reads the numbers.
        agree: (N, M): a change is reported if N of the last M frames show it.
    """

    def __init__(self, reader: NumberReader, agree: tuple[int, int]) -> None:
        self._reader, self._agree = reader, agree
        self._readings: list[NumberReading] = []  # of the latest frame
        self._debouncers: dict[str, ChangeDebouncer] = {}  # of each region

    def see(self, classifier: Classifier, frame: FrameArray, show: bool) -> None:
        """Read the number in each region of a frame.

        Raises:
            ImageError: a region is not inside the frame.
        """
        self._readings = self._reader.read(classifier, frame)

    def records(self) -> list[dict[str, Any]]:
        """Return the records of the regions whose number has changed with the latest frame.

        A reading that is not certain is reported once, until the region shows a number again. So is
        a region without digits; the whole frame may be empty.
        """
        records = []
        for reading in self._readings:
            if self._debouncer(reading.region).add(self._state(reading)):
                records.append(self._reader.record(self._reader.check(reading)))
        self._reader.last_values.stage()
        self._reader.last_values.save()
        return records

    def draw(self, frame: FrameArray) -> Image.Image:
        """Draw the regions and their numbers on the latest frame; implausible ones as rejected."""
        return draw_numbers(frame, [self._reader.preview(reading) for reading in self._readings])

    def _state(self, reading: NumberReading) -> str | None:
        if reading.reason is None:
            return reading.text
        is_empty = reading.reason == NO_DIGITS and not self._reader.has_regions
        return None if is_empty else _REJECTED

    def _debouncer(self, region: str) -> ChangeDebouncer:
        return self._debouncers.setdefault(region, ChangeDebouncer(*self._agree))
