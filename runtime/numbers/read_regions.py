"""Read the number in each region of an image, and reject what is not certainly one number.

`digit-edge watch`, `camera` and `serve` call `NumberReader.read`, then `NumberReader.check`, which
compares the number with the last value, and `record` for their outputs.
"""

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.classifier import Classifier
from runtime.errors import EdgeError, ImageError, plural
from runtime.multi_digit.recognize import UNKNOWN, Digit, Recognition
from runtime.numbers.options import MAX_DIGITS, NumberOptions
from runtime.numbers.plausibility import LastValues, PlausibilityCheck
from runtime.numbers.regions import WHOLE_IMAGE, Region
from runtime.preprocess.decode import ImageSource, decode_parts, describe
from runtime.preprocess.segment import Box

NO_DIGITS = "no digits"  # the reason to reject a region without digits
_MAX_IMAGE_SIDE_PX = 4096  # a larger JPEG is scaled down while it is decoded
_MAX_REGION_SIDE_PX = 2048  # a larger region is scaled down


class RegionError(ImageError):
    """A region is not inside an image, which is intact."""


@dataclass(frozen=True)
class NumberReading:
    """What was read in a region.

    Attributes:
        region: the name of the region.
        box: (left, top, right, bottom) of the region in pixels of the upright image; None for the
            whole image.
        recognition: the digits; their boxes are relative to the region.
        value: the number, with its decimals; None if it was rejected, or if the image has several
            numbers.
        reason: why the reading was rejected; None if it was accepted.
    """

    region: str
    box: Box | None
    recognition: Recognition
    value: Decimal | None
    reason: str | None

    @property
    def text(self) -> str:
        """The digits without a decimal point, `?` for an uncertain place; lines by newlines."""
        return self.recognition.text

    @property
    def confidence(self) -> float:
        """The confidence of the least certain line, from 0 to 1; 0 without lines."""
        return min(self.recognition.confidences, default=0.0)


class NumberReader:
    """Reads the number in each region, and compares it with the last one.

    Several threads may call `read` at once, but not the other methods.

    Args:
        options: the options of the command line.

    Attributes:
        last_values: the last accepted value of each region.
    """

    def __init__(self, options: NumberOptions) -> None:
        """Open the file with the last values.

        Raises:
            EdgeError: it cannot be read, or is not a file of last values.
        """
        self._options = options
        file = None if options.last_values is None else Path(options.last_values)
        self.last_values = LastValues(file)
        self._check = PlausibilityCheck(self.last_values, options.monotone, options.max_step)

    @property
    def has_regions(self) -> bool:
        """Whether the places of the numbers are known; otherwise the whole image is read."""
        return bool(self._options.regions)

    def read(self, classifier: Classifier, image: ImageSource) -> list[NumberReading]:
        """Read the number in each region, without regard to the last values.

        Args:
            classifier: reads the numbers.
            image: see `Classifier.classify`.

        Raises:
            ImageError: the image cannot be read.
            RegionError: a region is not inside the image.
        """
        if self._options.join:
            return [self._join(classifier, image)]
        if self._options.regions:
            return [
                self._read_part(classifier, region.name, box, part)
                for region, box, part in cut(image, self._options.regions)
            ]
        if isinstance(image, np.ndarray):
            return [self._read_part(classifier, WHOLE_IMAGE, None, image)]
        return [self._reading(WHOLE_IMAGE, None, classifier.read(image))]

    def check(self, reading: NumberReading) -> NumberReading:
        """Make the value of a reading the last one.

        Returns:
            The reading, rejected if its value is implausible.
        """
        if reading.value is None:
            return reading
        return _with(reading, self._check.accept(reading.region, reading.value))

    def preview(self, reading: NumberReading) -> NumberReading:
        """Return what `check` returns, but store nothing."""
        if reading.value is None:
            return reading
        return _with(reading, self._check.violation(reading.region, reading.value))

    def record(self, reading: NumberReading) -> dict[str, Any]:
        """Return the keys of a reading in the JSON of every output.

        The value of a rejected reading is None, and never its digits.
        """
        return {
            "region": reading.region,
            "text": reading.text,
            "value": self._json(reading.value),
            "confidence": round(reading.confidence, 6),
            "accepted": reading.reason is None,
            "reason": reading.reason,
            "last_value": self._json(self.last_values.get(reading.region)),
        }

    def _join(self, classifier: Classifier, image: ImageSource) -> NumberReading:
        """Classify the digit in each region; a wheel between two digits is an uncertain place."""
        digits = []
        for order, (_, box, part) in enumerate(cut(image, self._options.regions)):
            prediction = classifier.classify(part)
            if not (_is_number(prediction.label) and len(prediction.label) == 1):
                prediction = replace(prediction, accepted=False)
            digits.append(Digit(box, prediction, 0, order))
        predictions = [digit.prediction for digit in digits]
        text = "".join(each.label if each.accepted else UNKNOWN for each in predictions)
        confidence = math.prod(each.confidence for each in predictions)
        recognition = Recognition((text,), tuple(digits), (confidence,))
        return self._reading(WHOLE_IMAGE, None, recognition)

    def _read_part(
        self, classifier: Classifier, region: str, box: Box | None, part: npt.NDArray[np.uint8]
    ) -> NumberReading:
        """Read a part of an image; one with too much ink is rejected, as the next may be clear."""
        try:
            recognition = classifier.read(part)
        except ImageError as error:
            reason = str(error).removeprefix("<array>: ")
            return NumberReading(region, box, Recognition((), ()), None, reason)
        return self._reading(region, box, recognition)

    def _reading(self, region: str, box: Box | None, recognition: Recognition) -> NumberReading:
        reason = self._reason(recognition)
        digits = recognition.text
        value = None
        if reason is None and _is_number(digits):
            value = Decimal(digits).scaleb(-self._options.decimals)
        return NumberReading(region, box, recognition, value, reason)

    def _reason(self, recognition: Recognition) -> str | None:
        """Return why the digits are not one certain number; None if they are."""
        options, lines = self._options, recognition.lines
        if not lines:
            return NO_DIGITS
        if recognition.unknown:
            places = plural(sum(map(len, lines)), "place")
            return f"{recognition.unknown} of {places} not certain"
        if not options.one_number:
            return None
        if len(lines) > 1:
            return f"{len(lines)} lines of digits; pass a region for each"
        count = len(lines[0])
        if options.digits is not None and count != options.digits:
            return f"{plural(count, 'digit')}, not {options.digits}"
        return None if _is_number(lines[0]) else f"not a number of 1 to {MAX_DIGITS} digits"

    def _json(self, value: Decimal | None) -> int | float | None:
        """Return a value for JSON: a whole number unless the option asks for decimals."""
        if value is None:
            return None
        return int(value) if value == int(value) and not self._options.decimals else float(value)


def cut(
    image: ImageSource, regions: tuple[Region, ...]
) -> list[tuple[Region, Box, npt.NDArray[np.uint8]]]:
    """Cut the regions out of an image.

    Args:
        image: see `runtime.preprocess.decode.decode`.
        regions: the regions; each must be inside the image.

    Returns:
        For each region: the region, its box in pixels of the upright image, and its pixels, uint8
        (height, width, 3) RGB; scaled down if it is large.

    Raises:
        ImageError: the image cannot be decoded.
        RegionError: a region is not inside the image.
    """
    name = "" if isinstance(image, np.ndarray) else f"{describe(image)}: "
    found: list[Box] = []

    def boxes(width: int, height: int) -> list[Box]:
        try:
            found.extend(region.box(width, height) for region in regions)
        except EdgeError as error:
            raise RegionError(f"{name}{error}") from error
        return found

    # A frame of a camera is not scaled, so that the boxes of its digits fit its preview.
    longest_part = _MAX_IMAGE_SIDE_PX if isinstance(image, np.ndarray) else _MAX_REGION_SIDE_PX
    parts = decode_parts(image, boxes, longest=_MAX_IMAGE_SIDE_PX, longest_part=longest_part)
    return list(zip(regions, found, parts, strict=True))


def _with(reading: NumberReading, reason: str | None) -> NumberReading:
    return reading if reason is None else replace(reading, value=None, reason=reason)


def _is_number(text: str) -> bool:
    """Return whether a text is the digits of a value; a model may have letters as classes."""
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
