"""The messages that announce sensors to Home Assistant: MQTT discovery.

`runtime.outputs.mqtt` publishes them. Sources: https://www.home-assistant.io/integrations/mqtt/
(discovery), https://www.home-assistant.io/integrations/sensor.mqtt/ (the keys of a sensor), and
https://developers.home-assistant.io/docs/core/entity/sensor/ (device and state classes, units).
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from runtime.errors import EdgeError

_VOLUMES = ("m³", "L", "mL", "ft³", "CCF", "gal", "fl. oz.")
_SPEEDS = ("m/s", "km/h", "ft/s", "mph", "kn", "mm/s", "mm/d", "mm/h", "in/d", "in/h")
# Device class → its units. Home Assistant ignores a sensor with another unit. Classes whose state
# is not the number of a meter or a display are omitted.
DEVICE_CLASSES: dict[str, tuple[str, ...]] = {
    "atmospheric_pressure": ("hPa", "mbar", "bar", "Pa", "kPa", "mmHg", "inHg", "psi"),
    "battery": ("%",),
    "carbon_dioxide": ("ppm",),
    "current": ("A", "mA"),
    "distance": ("m", "km", "cm", "mm", "mi", "yd", "ft", "in"),
    "duration": ("s", "min", "h", "d", "ms"),
    "energy": ("kWh", "Wh", "MWh", "GWh", "J", "kJ", "MJ", "GJ", "cal", "kcal", "Mcal", "Gcal"),
    "frequency": ("Hz", "kHz", "MHz", "GHz"),
    "gas": ("m³", "ft³", "CCF"),
    "humidity": ("%",),
    "power": ("W", "kW", "MW", "GW", "mW"),
    "precipitation": ("mm", "cm", "in"),
    "pressure": ("bar", "mbar", "cbar", "Pa", "hPa", "kPa", "mmHg", "inHg", "psi"),
    "speed": _SPEEDS,
    "temperature": ("°C", "°F", "K"),
    "voltage": ("V", "mV", "µV", "kV", "MV"),
    "volume": _VOLUMES,
    "volume_flow_rate": ("m³/h", "L/min", "mL/s", "ft³/min", "gal/min"),
    "volume_storage": _VOLUMES,
    "water": ("m³", "L", "ft³", "CCF", "gal"),
    "weight": ("kg", "g", "mg", "µg", "oz", "lb", "st"),
    "wind_speed": ("m/s", "km/h", "ft/s", "mph", "kn"),
}
STATE_CLASSES = ("measurement", "total", "total_increasing")
_TOTALS = ("energy", "gas", "volume", "water")  # device classes that cannot be a measurement
_BOTH = ("distance", "duration", "precipitation", "weight")  # may be a measurement or a total
_MAX_UNIT_CHARACTERS = 20  # a longer unit is a mistake


@dataclass(frozen=True)
class NumberSensors:
    """How Home Assistant shows the numbers, one sensor for each region.

    Attributes:
        regions: the names of the regions.
        unit: unit of measurement; None for a number without a unit.
        device_class: one of `DEVICE_CLASSES`; None for any other number.
        state_class: one of `STATE_CLASSES`.
        decimals: number of decimals that are shown.
    """

    regions: tuple[str, ...]
    unit: str | None
    device_class: str | None
    state_class: str
    decimals: int


def number_sensors(
    regions: tuple[str, ...],
    unit: str | None,
    device_class: str | None,
    state_class: str | None,
    monotone: bool,
    decimals: int,
) -> NumberSensors:
    """Return the sensors of the command's options.

    Args:
        regions: the names of the regions.
        unit: value of `--unit`.
        device_class: value of `--device-class`.
        state_class: value of `--state-class`; None chooses total_increasing if the number is
            monotone, otherwise total for a meter of energy, gas, volume or water, otherwise
            measurement.
        monotone: whether the number never decreases.
        decimals: value of `--decimals`.

    Raises:
        EdgeError: Home Assistant would ignore a sensor with these values.
    """
    if unit is not None and (
        not unit.strip() or len(unit) > _MAX_UNIT_CHARACTERS or not unit.isprintable()
    ):
        raise EdgeError("--unit: pass a unit of 1 to 20 characters, such as m³ or kWh")
    if device_class is not None and unit not in DEVICE_CLASSES[device_class]:
        units = ", ".join(DEVICE_CLASSES[device_class])
        raise EdgeError(f"--device-class {device_class} needs --unit with one of: {units}")
    if state_class is None:
        can_be_total = device_class is None or device_class in (*_TOTALS, *_BOTH)
        if monotone and can_be_total:
            state_class = "total_increasing"
        else:
            state_class = "total" if device_class in _TOTALS else "measurement"
    elif device_class in _TOTALS and state_class == "measurement":
        raise EdgeError(
            f"--device-class {device_class} is never a measurement: pass --state-class total or "
            "total_increasing"
        )
    elif device_class not in (None, *_TOTALS, *_BOTH) and state_class != "measurement":
        raise EdgeError(f"--device-class {device_class} needs --state-class measurement")
    return NumberSensors(regions, unit, device_class, state_class, decimals)


def discover_digits(prefix: str, topic: str) -> list[tuple[str, str]]:
    """Return the messages that announce two sensors: the digit and its confidence.

    Both are unknown while the latest digit is rejected.

    Args:
        prefix: topic prefix of the discovery.
        topic: the topic to which records are published.

    Returns:
        (topic, JSON) of each message.
    """
    sensors: dict[str, dict[str, Any]] = {
        "digit": {
            "name": "Digit",
            "icon": "mdi:numeric",
            "state_topic": topic,
            "value_template": _if_accepted("value_json.label"),
            "json_attributes_topic": topic,
        },
        "confidence": {
            "name": "Confidence",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": _if_accepted("(value_json.confidence * 100) | round(1)"),
        },
    }
    return _messages(prefix, topic, sensors)


def discover_numbers(prefix: str, topic: str, numbers: NumberSensors) -> list[tuple[str, str]]:
    """Return the messages that announce one sensor for each region.

    Its state is the last accepted value, also after a rejected reading; the attributes `accepted`
    and `reason` say that the latest reading was rejected.

    Args:
        prefix: topic prefix of the discovery.
        topic: the topic below which each region has a topic of its own.
        numbers: the regions, and how their numbers are shown.

    Returns:
        (topic, JSON) of each message.
    """
    optional = {"unit_of_measurement": numbers.unit, "device_class": numbers.device_class}
    sensors = {
        region: {
            "name": region.replace("_", " ").capitalize(),
            **({} if numbers.device_class is not None else {"icon": "mdi:counter"}),
            **{key: value for key, value in optional.items() if value is not None},
            "state_class": numbers.state_class,
            "suggested_display_precision": numbers.decimals,
            "state_topic": f"{topic}/{region}",
            # null, if there is no value yet, is rendered as None, which is shown as "unknown".
            "value_template": "{{ value_json.last_value }}",
            "json_attributes_topic": f"{topic}/{region}",
        }
        for region in numbers.regions
    }
    return _messages(prefix, topic, sensors)


def _if_accepted(expression: str) -> str:
    """Return a template of an expression; Home Assistant shows the text None as "unknown"."""
    accepted = "value_json.accepted | default(true)"
    return "{{ " + expression + " if " + accepted + " else None }}"


def _messages(prefix: str, topic: str, sensors: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Add what all sensors of a program share; return (topic, JSON) of each sensor."""
    reader = "digit_edge_" + re.sub("[^A-Za-z0-9_-]", "_", topic)
    shared = {
        "availability_topic": f"{topic}/availability",
        "device": {"identifiers": [reader], "name": f"Digit reader {topic}", "model": "digit-edge"},
        "origin": {"name": "digit-edge"},
    }
    return [
        (
            f"{prefix}/sensor/{reader}/{name}/config",
            json.dumps({**shared, **sensor, "unique_id": f"{reader}_{name}"}),
        )
        for name, sensor in sensors.items()
    ]
