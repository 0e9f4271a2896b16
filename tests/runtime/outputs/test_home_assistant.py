"""MQTT discovery: the sensors follow Home Assistant's rules, and rejected readings are unknown.

The rules are those of its source: homeassistant/components/sensor/const.py (DEVICE_CLASS_UNITS and
DEVICE_CLASS_STATE_CLASSES) and homeassistant/components/mqtt/sensor.py.
"""

import json

import pytest

from runtime.errors import EdgeError
from runtime.outputs.home_assistant import (
    DEVICE_CLASSES,
    discover_digits,
    discover_numbers,
    number_sensors,
)

# Device classes that accept no `measurement`, and those that accept all state classes. All others
# accept `measurement` only.
TOTALS = {"energy", "gas", "volume", "water"}
ALL = {"distance", "duration", "precipitation", "weight"}
# Optional keys of an MQTT sensor that are used, beside those that each has.
KEYS = {
    "device_class", "entity_category", "icon", "json_attributes_topic", "state_class",
    "suggested_display_precision", "unit_of_measurement",
}  # fmt: skip
REQUIRED = {
    *("availability_topic", "device", "name", "origin"),
    *("state_topic", "unique_id", "value_template"),
}


def announce(device_class=None, unit=None, state_class=None, monotone=False, decimals=0):
    numbers = number_sensors(("main", "flow"), unit, device_class, state_class, monotone, decimals)
    return {
        topic: json.loads(text)
        for topic, text in discover_numbers("homeassistant", "house/meter", numbers)
    }


def states(sensors, record):
    """Return the states of the sensors after a message, as Home Assistant renders them."""
    jinja2 = pytest.importorskip("jinja2", reason="needs jinja2: pip install jinja2")
    return [
        jinja2.Template(sensor["value_template"]).render(value_json=record) for sensor in sensors
    ]


def test_each_region_is_a_sensor_of_its_own():
    sensors = announce("water", "m³", monotone=True, decimals=3)
    assert list(sensors) == [
        f"homeassistant/sensor/digit_edge_house_meter/{name}/config" for name in ("main", "flow")
    ]
    main, flow = sensors.values()
    assert (main["state_topic"], flow["state_topic"]) == ("house/meter/main", "house/meter/flow")
    assert main["unique_id"] != flow["unique_id"]
    assert main["device"] == flow["device"]
    assert main["unit_of_measurement"] == "m³"
    assert main["device_class"] == "water"
    assert main["state_class"] == "total_increasing"
    assert main["suggested_display_precision"] == 3
    assert main["availability_topic"] == "house/meter/availability"


def test_state_is_the_last_accepted_value():
    main = list(announce().values())[:1]
    accepted = {"value": 12.5, "accepted": True, "last_value": 12.5}
    rejected = {"text": "9125", "value": None, "accepted": False, "last_value": 12.5}
    assert states(main, accepted) == states(main, rejected) == ["12.5"]
    # Home Assistant shows None as "unknown".
    assert states(main, {**rejected, "last_value": None}) == ["None"]


def test_digit_and_confidence_are_unknown_after_a_rejected_digit():
    sensors = [json.loads(text) for _, text in discover_digits("homeassistant", "digits")]
    for accepted in ({"accepted": True}, {}):
        record = {"label": "1", "confidence": 0.95, **accepted}
        assert states(sensors, record) == ["1", "95.0"]
    rejected = {"label": "1", "confidence": 0.95, "accepted": False}
    assert states(sensors, rejected) == ["None", "None"]


@pytest.mark.parametrize("device_class", [None, *DEVICE_CLASSES])
@pytest.mark.parametrize("monotone", [False, True])
def test_default_state_class_is_valid_for_every_device_class(device_class, monotone):
    unit = None if device_class is None else DEVICE_CLASSES[device_class][0]
    for sensor in announce(device_class, unit, monotone=monotone).values():
        state_class = sensor["state_class"]
        if device_class in TOTALS:
            assert state_class == ("total_increasing" if monotone else "total")
        elif device_class in ALL or device_class is None:
            assert state_class == ("total_increasing" if monotone else "measurement")
        else:
            assert state_class == "measurement"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device_class": "water"}, "needs --unit with one of: m³, L"),
        ({"device_class": "water", "unit": "kWh"}, "needs --unit with one of: m³, L"),
        ({"device_class": "water", "unit": "m3"}, "m³"),
        (
            {"device_class": "gas", "unit": "m³", "state_class": "measurement"},
            "pass --state-class total or total_increasing",
        ),
        (
            {"device_class": "temperature", "unit": "°C", "state_class": "total"},
            "needs --state-class measurement",
        ),
        ({"unit": " "}, "pass a unit"),
        ({"unit": "x" * 21}, "pass a unit"),
        ({"unit": "m\n"}, "pass a unit"),
    ],
)
def test_sensor_that_home_assistant_would_ignore_is_rejected(options, message):
    with pytest.raises(EdgeError, match=message):
        announce(**options)


def test_messages_have_the_keys_of_an_mqtt_sensor():
    numbers = announce("water", "m³").values()
    digits = (json.loads(text) for _, text in discover_digits("homeassistant", "digits"))
    for sensor in (*numbers, *announce().values(), *digits):
        assert REQUIRED <= set(sensor) <= REQUIRED | KEYS
        # The state must be numeric if one of these is set.
        assert sensor["name"] == "Digit" or "state_class" in sensor
