"""Generate JSON schemas (draft 2020-12) from dataclasses and their docstrings.

`runtime.serve.openapi.document` describes the bodies of the API's responses with these schemas. The
descriptions of fields come from the `Attributes:` section of a Google-style docstring.
"""

import dataclasses
import inspect
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]  # a JSON schema: keyword → value

# Python type → name of the type in a JSON schema.
_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
    dict: "object",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Keywords:
    """JSON-schema keywords for a type, as in Annotated[float, Keywords({"minimum": 0})].

    Attributes:
        schema: keyword → value.
    """

    schema: Schema


# An entry `name: text` of "Attributes:"; continuation lines are indented deeper.
_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {5,}.+)*)", re.MULTILINE)


def schema_of(hint: Any, components: dict[str, Schema]) -> Schema:
    """Return the JSON schema of a type.

    Args:
        hint: a dataclass, str, int, float, bool, None, Any, list[X], tuple[X, ...], tuple[X, X],
            dict[str, X], Literal, a union of these, or Annotated[X, Keywords(…)].
        components: name of a dataclass → schema; the schemas of further dataclasses are added.

    Returns:
        The schema. For a dataclass it is a reference to its schema in `components`.

    Raises:
        TypeError: the type has no JSON schema.
    """
    if hint is Any:
        return {}
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in components:
            components[hint.__name__] = {}  # placeholder that ends the recursion of nested types
            components[hint.__name__] = _object(hint, components)
        return {"$ref": f"#/components/schemas/{hint.__name__}"}
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return {**schema_of(parts[0], components), **parts[1].schema}
    if kind is Literal:
        return {"const": parts[0]} if len(parts) == 1 else {"enum": list(parts)}
    if kind in (Union, UnionType):
        schemas = [schema_of(part, components) for part in parts]
        if all(schema.keys() == {"type"} for schema in schemas):
            return {"type": [schema["type"] for schema in schemas]}
        return {"anyOf": schemas}
    if kind is list or (kind is tuple and parts[1:] == (...,)):
        return {"type": "array", "items": schema_of(parts[0], components)}
    if kind is tuple and len(set(parts)) == 1:
        size = {"minItems": len(parts), "maxItems": len(parts)}
        return {"type": "array", "items": schema_of(parts[0], components), **size}
    if kind is dict and parts[0] is str:
        return {"type": "object", "additionalProperties": schema_of(parts[1], components)}
    raise TypeError(f"no JSON schema for {hint}")


def _object(body: type, components: dict[str, Schema]) -> Schema:
    hints = get_type_hints(body, include_extras=True)
    descriptions: dict[str, str] = {}
    for base in reversed(body.__mro__):
        descriptions.update(_ATTRIBUTE.findall(inspect.cleandoc(base.__doc__ or "")))
    properties, required = {}, []
    for field in dataclasses.fields(body):
        properties[field.name] = schema_of(hints[field.name], components)
        if field.name in descriptions:
            properties[field.name]["description"] = _one_line(descriptions[field.name])
        if field.default is field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    schema: Schema = {"type": "object", "required": required, "properties": properties}
    if body.__doc__:
        schema["description"] = _one_line(inspect.cleandoc(body.__doc__).partition("\n\n")[0])
    return schema


def _one_line(text: str) -> str:
    return " ".join(text.split())
