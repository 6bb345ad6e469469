"""Values of every message class, built from its annotations: random ones, and one fixed sample.

A class that is added to `_messages` is covered by the tests without a line here.
"""

import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, Union

import attrs
from hypothesis import strategies as st

from trio_pipecat._messages import COMMAND_TYPES, EVENT_TYPES

EVENT_CLASSES = list(EVENT_TYPES.values())
COMMAND_CLASSES = list(COMMAND_TYPES.values())

#: NaN and infinity have no JSON; -0.0 equals 0.0 and needs no care.
FLOATS = st.floats(allow_nan=False, allow_infinity=False)

#: Whatever JSON can carry.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@functools.cache
def records(cls: type) -> st.SearchStrategy[Any]:
    """Any value of `cls`: every field but `raw` and `at`."""
    return st.deferred(lambda: st.builds(cls, **_fields(cls, random_value)))


def sample(cls: type) -> Any:
    """One value of `cls`, with something in every field, always the same."""
    return cls(**_fields(cls, fixed_value))


def _fields(cls: type, value_of: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    fields = {}
    for attribute in attrs.fields(cls):
        if attribute.name in ("raw", "at"):
            continue
        if spelling(attribute, "rest"):
            fields[attribute.name] = value_of(Mapping, frozenset(wire_keys(cls)))
        else:
            fields[attribute.name] = value_of(hints[attribute.name])
    return fields


def random_value(hint: Any, without: frozenset[str] = frozenset()) -> st.SearchStrategy[Any]:
    """Values of a type; `without` are keys that an object must not have."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if attrs.has(hint):
        return records(hint)
    if origin in (Union, types.UnionType):
        return st.one_of(map(random_value, arguments))
    if origin is tuple:
        return st.lists(random_value(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(st.text().filter(lambda key: key not in without), JSON, max_size=3)
    return {
        Any: JSON,
        str: st.text(),
        bytes: st.binary(),
        bool: st.booleans(),
        int: st.integers(),
        float: FLOATS | st.integers(),
        types.NoneType: st.none(),
    }[hint]


def fixed_value(hint: Any, without: frozenset[str] = frozenset()) -> Any:
    """One value of a type; of a union's, one of the first."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if isinstance(hint, type) and hint.__name__ == "UiNode":
        return hint(ref="e1", role="button", children=(hint(ref="e2", role="image"),))
    if attrs.has(hint):
        return sample(hint)
    if origin in (Union, types.UnionType):
        return fixed_value(arguments[0])
    if origin is tuple:
        return (fixed_value(arguments[0]),) * 2
    if origin is Mapping:
        return {"key": ["value", None]}
    fixed = {Any: {"any": [1, None]}, str: "text", bytes: b"\x00\xff", bool: True, float: 0.5}
    return fixed.get(hint, 7)


# -- how a class is spelt on the wire ----------------------------------------------------


def spelling(attribute: "attrs.Attribute[Any]", what: str) -> Any:
    """One argument of the field's `wire()`, None without one."""
    return getattr(attribute.metadata.get("wire"), what, None)


def wire_fields(cls: type) -> "list[attrs.Attribute[Any]]":
    """The fields of `cls` that are keys of its JSON object."""
    return [
        attribute
        for attribute in attrs.fields(cls)
        if not attribute.metadata.get("off_wire")
        and not spelling(attribute, "whole")
        and not spelling(attribute, "rest")
    ]


def wire_key(attribute: "attrs.Attribute[Any]") -> str:
    """The JSON key of a field."""
    return spelling(attribute, "key") or attribute.name


def wire_keys(cls: type) -> set[str]:
    """Every key that a field of `cls` is read from."""
    keys = set()
    for attribute in wire_fields(cls):
        inside, also = spelling(attribute, "inside"), spelling(attribute, "also") or ()
        keys.update({inside} if inside else {wire_key(attribute), *also})
    return keys


def holder(data: dict[str, Any], attribute: "attrs.Attribute[Any]") -> dict[str, Any]:
    """The object in `data` that has the key of a field."""
    inside = spelling(attribute, "inside")
    return data if inside is None else data[inside]


def collects_keys(cls: type) -> bool:
    """Does `cls` keep the keys that it does not know, or take any value as a whole?"""
    return any(
        spelling(attribute, "rest") or spelling(attribute, "whole")
        for attribute in attrs.fields(cls)
    )


def nested_classes(classes: list[type]) -> list[type]:
    """The record classes that are found in the fields of `classes`, however deep."""
    found: list[type] = []
    todo = [hint for cls in classes for hint in typing.get_type_hints(cls).values()]
    while todo:
        hint = todo.pop()
        todo.extend(typing.get_args(hint))
        if attrs.has(hint) and hint not in found:
            found.append(hint)
            todo.extend(typing.get_type_hints(hint).values())
    return sorted(found, key=lambda cls: cls.__name__)
