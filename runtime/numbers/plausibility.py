"""Check numbers against the last value: the options `--monotone` and `--max-step`.

A meter never runs backwards, and it cannot advance by any amount between two readings. A number
that does is a misread one. The last value of each region is in a file, so that a restart does not
accept the first misread number.
"""

import json
from collections import deque
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

from runtime.errors import EdgeError, report
from runtime.system import atomic_write

_MAX_FILE_BYTES = 1 << 20  # a file of last values has some 40 bytes for each region
_MAX_POWER = 40  # of ten, of the first and the last digit of a value in the file


class LastValues:
    """The last accepted value of each region.

    `set` changes a value in memory, and `stage` and `save` write it to the file. The file is a JSON
    object: name of the region → number. It is replaced atomically.

    Args:
        file: path of the file, which is created; None keeps the values in memory only.

    Raises:
        EdgeError: the file cannot be read, or is not a file of last values.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._failing = False  # whether the last write failed, which was reported
        self._values = {} if file is None else _load(file)
        self._staged = dict(self._values)
        # Values that are not in the file yet, and the number of the result that they belong to.
        self._unsaved: deque[tuple[int, dict[str, Decimal]]] = deque()

    def get(self, region: str) -> Decimal | None:
        """Return the last value of a region; None if there is none yet."""
        return self._values.get(region)

    def set(self, region: str, value: Decimal) -> None:
        """Change the last value of a region, in memory."""
        self._values[region] = value

    def stage(self, result: int = 0) -> None:
        """Mark the present values for the next `save`.

        Args:
            result: number of the result with these values, from 1. The values are saved when it is
                delivered, so that a restart after a kill accepts a repeated result.
        """
        if self._file is not None and self._values != self._staged:
            self._staged = dict(self._values)
            self._unsaved.append((result, self._staged))

    def save(self, delivered: int = 0) -> None:
        """Write the values of delivered results; an unwritable file is reported once on stderr.

        Args:
            delivered: number of delivered results.
        """
        latest = None
        while self._unsaved and self._unsaved[0][0] <= delivered:
            latest = self._unsaved.popleft()
        if latest is None or self._file is None:
            return
        pairs = (f"{json.dumps(name)}: {value:f}" for name, value in latest[1].items())
        try:
            atomic_write.write(self._file, f"{{{', '.join(pairs)}}}\n")
        except EdgeError as error:
            self._unsaved.appendleft(latest)  # for the next call
            if not self._failing:
                report(EdgeError(f"{error}. A restart will not know the last values"))
            self._failing = True
        else:
            self._failing = False


class PlausibilityCheck:
    """Accepts a value of a region if it is plausible after the last one.

    Attributes:
        last_values: the argument `last_values`.

    Args:
        last_values: of each region.
        monotone: whether a value below the last one is implausible.
        max_step: largest difference to the last value; None for any.
    """

    def __init__(
        self, last_values: LastValues, monotone: bool = False, max_step: float | None = None
    ) -> None:
        self.last_values, self._monotone = last_values, monotone
        self._max_step = None if max_step is None else Decimal(repr(max_step)).normalize()

    def violation(self, region: str, value: Decimal) -> str | None:
        """Return why a value is implausible; None if it is plausible."""
        last = self.last_values.get(region)
        if last is None:
            return None
        if self._monotone and value < last:
            return f"{value:f} is less than the last value {last:f}"
        if self._max_step is not None and abs(value - last) > self._max_step:
            return f"{value:f} differs from the last value {last:f} by more than {self._max_step:f}"
        return None

    def accept(self, region: str, value: Decimal) -> str | None:
        """Make a plausible value the last one, in memory.

        Returns:
            Why the value is implausible, and was not stored; None if it was stored.
        """
        reason = self.violation(region, value)
        if reason is None:
            self.last_values.set(region, value)
        return reason


def _load(file: Path) -> dict[str, Decimal]:
    """Return the values in a file; an empty dictionary if the file is missing.

    Raises:
        EdgeError: the file cannot be read, or has another form.
    """
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise OSError(0, "it is not a file")
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EdgeError(
            f"cannot read the last values in {file}: {reason}; pass another file with --last-values"
        ) from error
    values = None
    with suppress(ValueError, RecursionError, ArithmeticError):
        values = json.loads(
            data, parse_int=Decimal, parse_float=Decimal, parse_constant=lambda _: None
        )
    if not isinstance(values, dict) or not all(map(_is_value, values.values())):
        raise EdgeError(
            f"{file} is not a file of last values, or is damaged: delete it, so that the next "
            "number is accepted as the last value, or pass another file with --last-values"
        )
    return values


def _is_value(value: object) -> bool:
    """Return whether a value in a file can be the last value of a region."""
    return (
        isinstance(value, Decimal)
        and value.is_finite()
        and value >= 0
        and value.adjusted() < _MAX_POWER
        and value.adjusted() - len(value.as_tuple().digits) >= -_MAX_POWER
    )
