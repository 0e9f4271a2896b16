"""Converts frozen dataclasses to JSON and back, with a check of every type.

Used for the published reports and for the messages between a benchmark and its subprocesses.
"""

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

from runtime.errors import EdgeError

T = TypeVar("T")

_METADATA_KEY = "json_key"  # the key in a dataclass field's metadata that holds its JSON key


def json_key(key: str) -> dict[str, str]:
    """Return metadata that gives a dataclass field another key in JSON than its name.

    Fields that were renamed keep the JSON key of published files.
    """
    return {_METADATA_KEY: key}


def to_json(value: Any) -> str:
    """Return a dataclass as compact JSON, one line per top-level field; tuples become arrays."""
    record = _encode(value)
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
    lines = (f"{encode(key)}: {encode(part)}" for key, part in record.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def from_json(kind: type[T], text: str | bytes, name: str) -> T:
    """Return the dataclass that `to_json` wrote as `text`; unknown keys are ignored.

    Args:
        kind: the dataclass to return.
        text: JSON text.
        name: the name of the text in error messages, for example a file name.

    Raises:
        EdgeError: the text is not JSON, or its keys or types do not match the dataclass.
    """
    try:
        return typing.cast(T, _decode(kind, json.loads(text, parse_constant=_refuse_constant)))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        reason = f"{error!r:.200}"
        raise EdgeError(f"{name} is not a {kind.__name__} ({reason}): measure again") from error


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {_key(field): _encode(getattr(value, field.name)) for field in fields}
    if isinstance(value, tuple | list):
        return list(map(_encode, value))
    if isinstance(value, dict):
        return {key: _encode(part) for key, part in value.items()}
    return value


def _key(field: "dataclasses.Field[Any]") -> str:
    return str(field.metadata.get(_METADATA_KEY, field.name))


def _refuse_constant(name: str) -> None:
    """Reject NaN and Infinity, which `json.loads` accepts although JSON does not have them."""
    raise ValueError(f"{name} is not a number in JSON")


def _decode(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise TypeError(f"{value!r:.40} is not a {kind}")
        hints = typing.get_type_hints(kind)
        names = {_key(field): field.name for field in dataclasses.fields(kind)}
        # Reports of older versions have keys for fields that were removed.
        known = ((names[key], part) for key, part in value.items() if key in names)
        fields = {name: _decode(hints[name], part) for name, part in known}
        return typing.cast(Any, kind)(**fields)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (only,) = (argument for argument in arguments if argument is not type(None))
        return _decode(only, value)
    if origin is tuple and not isinstance(value, list):
        raise TypeError(f"{value!r:.40} is not a list")
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(_decode(arguments[0], part) for part in value)
        return tuple(_decode(a, part) for a, part in zip(arguments, value, strict=True))
    # A float may be written as an integer in JSON. In Python bool is a subclass of int.
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise TypeError(f"{value!r:.40} is not a {kind.__name__}")
    if kind is float:
        return float(value)
    return value
