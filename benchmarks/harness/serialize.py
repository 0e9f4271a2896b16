"""Converts frozen dataclasses to JSON and back."""

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

from runtime.errors import EdgeError

T = TypeVar("T")


_KEY = "json_key"


def json_key(key: str) -> dict[str, str]:
    """Return the metadata of a dataclass field whose key in JSON is not its name.

    Published files have the keys of earlier names.
    """
    return {_KEY: key}


def to_json(value: Any) -> str:
    """Compact JSON text of a dataclass; tuples become arrays, one line per top-level field."""
    record = _encode(value)
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
    lines = (f"{encode(key)}: {encode(part)}" for key, part in record.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def from_json(kind: type[T], text: str | bytes, name: str) -> T:
    """Read a dataclass back from `to_json`'s text, without keys that it has no fields for.

    Args:
        name: what messages call the text, a file's name.

    Raises:
        EdgeError: the text is not JSON, or not such a record.
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
    return str(field.metadata.get(_KEY, field.name))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def _decode(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise TypeError(f"{value!r:.40} is not a {kind}")
        hints = typing.get_type_hints(kind)
        names = {_key(field): field.name for field in dataclasses.fields(kind)}
        # Reports of older versions have keys that are not fields any more.
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
    # JSON has one type of numbers, and Python's bool is an int.
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise TypeError(f"{value!r:.40} is not a {kind.__name__}")
    if kind is float:
        return float(value)
    return value
