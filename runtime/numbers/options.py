"""The options of `digit-edge watch`, `camera` and `serve` that read numbers.

This module imports neither NumPy nor Pillow, because the server process of `digit-edge serve` does
not need them. `runtime.numbers.read_regions` reads the numbers.
"""

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.numbers.regions import MAX_REGIONS, WHOLE_IMAGE, Region, name_regions, parse_region
from runtime.outputs.home_assistant import (
    DEVICE_CLASSES,
    STATE_CLASSES,
    NumberSensors,
    number_sensors,
)
from runtime.system.file_lock import locked
from runtime.system.state_folder import state_folder

MAX_DIGITS = 15  # of a value; more are not exact in the floating-point numbers of many programs
_REMEDY = "stop that process, or pass another file with --last-values"  # if a file is locked


@dataclass(frozen=True)
class NumberOptions:
    """What is read, and which numbers are rejected.

    Attributes:
        regions: where the numbers are; none for the whole image.
        join: whether each region has one digit of the same number, which the model classifies.
        digits: number of digits of each number; None for any.
        decimals: number of digits behind the decimal point, which is not read.
        monotone: whether a number below the last one is rejected.
        max_step: largest difference to the last number; None for any.
        last_values: path of the file with the last values; None if they are in memory only.
        one_number: whether an image without regions must have exactly one number; otherwise it may
            have several lines.
    """

    regions: tuple[Region, ...] = ()
    join: bool = False
    digits: int | None = None
    decimals: int = 0
    monotone: bool = False
    max_step: float | None = None
    last_values: str | None = None
    one_number: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the numbers."""
        if self.join:
            return (WHOLE_IMAGE,)
        return tuple(region.name for region in self.regions) or (WHOLE_IMAGE,)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "NumberOptions":
        """Return the options whose `dataclasses.asdict` was converted to JSON."""
        regions = tuple(Region(**region) for region in fields["regions"])
        return cls(**{**fields, "regions": regions})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the file with the last values within the block.

        Raises:
            EdgeError: another process holds it.
        """
        if self.last_values is None:
            yield
            return
        with locked(Path(self.last_values), _REMEDY):
            yield


def add_arguments(
    parser: argparse.ArgumentParser, read: str = "read numbers in place of one digit"
) -> None:
    """Add `--read` and the options that need it, except those of `add_sensor_arguments`.

    Args:
        parser: gets the options.
        read: the help of `--read`.
    """
    group = parser.add_argument_group(
        "numbers",
        "With --read, a number of several digits is read, as `digit-edge read` does. A number that "
        "is not certain is published as rejected.",
    )
    group.add_argument("--read", action="store_true", help=read)
    group.add_argument(
        "--region",
        action="append",
        default=[],
        type=parse_region,
        metavar="[NAME=]X,Y,W,H",
        help="the place of a number, in pixels, or in percent of the image: 10%%,20%%,50%%,15%%. "
        f"May be repeated, up to {MAX_REGIONS} times; each is a number of its own "
        "(default: the whole image)",
    )
    group.add_argument(
        "--join",
        action="store_true",
        help="each region is one digit, such as a wheel of a meter, which the model classifies; "
        "all of them, in this order, are one number",
    )
    group.add_argument(
        "--digits",
        type=_count(1),
        metavar="N",
        help="each number has N digits; others are rejected",
    )
    group.add_argument(
        "--decimals",
        type=_count(0),
        default=0,
        metavar="N",
        help="the last N digits are behind the decimal point, which is not read "
        "(default: %(default)s)",
    )
    group.add_argument("--monotone", action="store_true", help="reject a number below the last one")
    group.add_argument(
        "--max-step",
        type=_step,
        metavar="X",
        help="reject a number that differs from the last one by more than X",
    )
    group.add_argument(
        "--last-values",
        metavar="FILE",
        help="file that keeps the last number of each region for a restart (default, with "
        "--monotone or --max-step: a file in $STATE_DIRECTORY or ~/.local/state/digit-edge). "
        "Delete it to accept any next number",
    )


def add_sensor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--unit`, `--device-class` and `--state-class`, for Home Assistant."""
    group = parser.add_argument_group("numbers in Home Assistant, with --mqtt-discovery")
    group.add_argument("--unit", metavar="NAME", help="unit of the numbers, such as m³ or kWh")
    group.add_argument(
        "--device-class",
        choices=tuple(DEVICE_CLASSES),
        metavar="NAME",
        help=f"what the numbers measure: {', '.join(DEVICE_CLASSES)}",
    )
    group.add_argument(
        "--state-class",
        choices=STATE_CLASSES,
        metavar="NAME",
        help=f"{', '.join(STATE_CLASSES)} (default: total_increasing with --monotone; otherwise "
        "total for energy, gas, volume and water, and measurement for others)",
    )


def parse(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    source: str,
    one_number: bool = False,
) -> NumberOptions | None:
    """Return the options of a command line; end with a usage error if they contradict each other.

    Args:
        parser: with the options of `add_arguments`.
        arguments: parsed by it.
        source: names what is read; the default file with the last values depends on it.
        one_number: whether an output needs exactly one number.

    Returns:
        None without `--read`.

    Raises:
        EdgeError: two regions have the same name.
    """
    if not arguments.read:
        named = {
            "--region": arguments.region,
            "--join": arguments.join,
            "--digits": arguments.digits is not None,
            "--decimals": arguments.decimals,
            "--monotone": arguments.monotone,
            "--max-step": arguments.max_step is not None,
            "--last-values": arguments.last_values is not None,
        }
        used = [name for name, is_used in named.items() if is_used]
        if used:
            parser.error(f"{used[0]} is for numbers: pass --read too")
        return None
    if arguments.join and not arguments.region:
        parser.error("--join needs the place of each digit: pass --region for each")
    checks = arguments.monotone or arguments.max_step is not None
    last_values = arguments.last_values
    if last_values is None and checks:
        last_values = _default_file(source)
    regions = name_regions(arguments.region)
    return NumberOptions(
        regions=regions,
        join=arguments.join,
        digits=arguments.digits,
        decimals=arguments.decimals,
        monotone=arguments.monotone,
        max_step=arguments.max_step,
        last_values=last_values,
        one_number=one_number
        or bool(regions or arguments.digits or arguments.decimals or checks or last_values),
    )


def parse_sensors(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, numbers: NumberOptions | None
) -> NumberSensors | None:
    """Return how Home Assistant shows the numbers; None without numbers.

    Args:
        parser: with the options of `add_sensor_arguments`.
        arguments: parsed by it.
        numbers: the result of `parse`.

    Raises:
        EdgeError: Home Assistant would ignore such a sensor.
    """
    options = (arguments.unit, arguments.device_class, arguments.state_class)
    if any(options) and (numbers is None or arguments.mqtt_discovery is None):
        parser.error(
            "--unit, --device-class and --state-class are for numbers in Home Assistant: pass "
            "--read and --mqtt-discovery too"
        )
    if numbers is None:
        return None
    return number_sensors(numbers.names, *options, numbers.monotone, numbers.decimals)


def _default_file(source: str) -> str:
    """Return the default path of the file with the last values."""
    from hashlib import sha256

    return str(state_folder() / f"numbers-{sha256(os.fsencode(source)).hexdigest()[:16]}.json")


def _count(least: int) -> Callable[[str], int]:
    """Return a converter of whole numbers from `least` to `MAX_DIGITS`."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = -1
        if not least <= number <= MAX_DIGITS:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {least} to {MAX_DIGITS}"
            )
        return number

    return convert


def _step(text: str) -> float:
    try:
        step = float(text)
    except ValueError:
        step = math.nan
    if not 0 < step < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return step
