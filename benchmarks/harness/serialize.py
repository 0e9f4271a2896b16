"""Converts frozen dataclasses to JSON and back, with a check of every type and value.

Used for the published reports and for the messages between a benchmark and its subprocesses. The
types of the fields are the schema. Besides int, float, str, bool, None, tuples and dataclasses they
may be the types with limits below. A dataclass checks rules about several of its fields in
`__post_init__`, which raises ValueError.
"""

import dataclasses
import functools
import json
import types
import typing
from pathlib import Path
from typing import Annotated, Any, TypeVar

from runtime.errors import EdgeError

T = TypeVar("T")

_METADATA_KEY = "json_key"  # the key in a dataclass field's metadata that holds its JSON key
_MAX_NUMBER = 2**63 - 1  # larger numbers are rejected, so that NumPy can calculate with all of them
_MAX_REPORT_BYTES = 256 * 2**20  # larger files are rejected; a report has about 1 MB


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """The minimum of a number, or of the length of a tuple."""

    minimum: int


@dataclasses.dataclass(frozen=True)
class OneOf:
    """The texts that a field may contain."""

    texts: tuple[str, ...]


# Types of fields with limits:
Positive = Annotated[int, AtLeast(1)]
NonNegative = Annotated[int, AtLeast(0)]
NonEmpty = Annotated[tuple[T, ...], AtLeast(1)]
Precision = Annotated[str, OneOf(("float32", "float16", "int8"))]  # of an artifact


class _SchemaError(Exception):
    """A value that does not match its type; the text says which one and why."""


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


def from_json(kind: type[T], text: str | bytes, name: str, remedy: str = "measure again") -> T:
    """Return the dataclass that `to_json` wrote as `text`; unknown keys are ignored.

    Args:
        kind: the dataclass to return.
        text: JSON text.
        name: the name of the text in error messages, for example a file name.
        remedy: the end of error messages.

    Raises:
        EdgeError: the text is not JSON, or its keys, types or values do not match the dataclass.
    """
    return _from_record(kind, _parse(text, name, remedy), name, remedy)


def read_report(kind: type[T], path: Path, schema_version: int, command: str) -> T:
    """Read a report from a file.

    Args:
        kind: the dataclass of the report.
        path: the JSON file.
        schema_version: the version to accept.
        command: the command that writes such reports, for error messages.

    Raises:
        EdgeError: the file cannot be read, is not such a report, or has another schema version.
    """
    name, remedy = str(path), f"name a JSON file that {command} wrote"
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise EdgeError(f"cannot read the report {path}: {error.strerror}; {remedy}") from error
    if len(text) > _MAX_REPORT_BYTES:
        raise EdgeError(f"{path} is larger than {_MAX_REPORT_BYTES >> 20} MiB: {remedy}")
    record = _parse(text, name, remedy)
    # Other versions may have other keys, so the version comes first.
    version = record.get("schema_version") if isinstance(record, dict) else None
    if isinstance(version, int) and version != schema_version:
        raise EdgeError(
            f"{path} has schema version {version!r:.20}, but this program reads version "
            f"{schema_version}: run {command} again"
        )
    return _from_record(kind, record, name, remedy)


def _parse(text: str | bytes, name: str, remedy: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise EdgeError(f"{name} is not JSON ({where}): {remedy}") from error
    except UnicodeDecodeError as error:
        raise EdgeError(f"{name} is not JSON (it is not text): {remedy}") from error
    except _SchemaError as error:
        raise EdgeError(f"{name} is not JSON ({error}): {remedy}") from error
    except (ValueError, RecursionError) as error:
        reason = (
            "a number is too long" if isinstance(error, ValueError) else "it is nested too deep"
        )
        raise EdgeError(f"{name} is not JSON that can be read ({reason}): {remedy}") from error


def _from_record(kind: type[T], record: Any, name: str, remedy: str) -> T:
    try:
        return typing.cast(T, _decode(kind, record, ""))
    except _SchemaError as error:
        raise EdgeError(f"{name} is not a {kind.__name__} ({error}): {remedy}") from error


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
    raise _SchemaError(f"{name} is not a number in JSON")


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Return a value of JSON as a type.

    Args:
        kind: the type.
        value: the value.
        where: its position in the JSON text, such as "parity.results[0].n".

    Raises:
        _SchemaError: the value does not match the type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        decoded = _decode(arguments[0], value, where)
        for limit in arguments[1:]:
            _check_limit(limit, decoded, where)
        return decoded
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (only,) = (argument for argument in arguments if argument is not type(None))
        return _decode(only, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _SchemaError(f"{where} is {value!r:.40}, not a list")
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) != len(value):
            raise _SchemaError(f"{where} has {len(value)} items, not {len(arguments)}")
        return tuple(
            _decode(argument, part, f"{where}[{index}]")
            for index, (argument, part) in enumerate(zip(arguments, value, strict=True))
        )
    return _decode_simple(kind, value, where)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _SchemaError(f"{where or 'the content'} is {value!r:.40}, not an object")
    prefix = f"{where}." if where else ""
    arguments = {}
    for key, (name, hint, is_required) in _fields(kind).items():
        if key in value:
            arguments[name] = _decode(hint, value[key], prefix + key)
        elif is_required:
            raise _SchemaError(f"{prefix}{key} is missing")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise _SchemaError(f"{where or 'the content'}: {error}") from error


@functools.cache
def _fields(kind: Any) -> dict[str, tuple[str, Any, bool]]:
    """Return name, type and whether it is required of each field of a dataclass, by JSON key."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        _key(field): (
            field.name,
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    }


def _decode_simple(kind: Any, value: Any, where: str) -> Any:
    # A float may be written as an integer in JSON. In Python bool is a subclass of int.
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise _SchemaError(f"{where} is {value!r:.40}, not {_TYPE_NAMES[kind]}")
    if kind in (int, float) and not abs(value) <= _MAX_NUMBER:
        raise _SchemaError(f"{where} is {value!r:.40}, which is too large")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise _SchemaError(f"{where} contains half of a surrogate pair")
    return float(value) if kind is float else value


_TYPE_NAMES = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}


def _check_limit(limit: AtLeast | OneOf, value: Any, where: str) -> None:
    """Raise _SchemaError if a value is outside its limit."""
    if isinstance(limit, OneOf):
        if value not in limit.texts:
            raise _SchemaError(f"{where} is {value!r:.40}, not one of {', '.join(limit.texts)}")
    elif isinstance(value, tuple):
        if len(value) < limit.minimum:
            raise _SchemaError(f"{where} has {len(value)} items, fewer than {limit.minimum}")
    elif value < limit.minimum:
        raise _SchemaError(f"{where} is {value}, less than {limit.minimum}")
