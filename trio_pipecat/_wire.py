"""How a frozen attrs class maps to a JSON object, read off its type annotations.

The message classes in `_messages` are plain lists of fields. This module gives them three things: a
type check when they are made (so a message with a wrong field never exists), `from_json` and
`to_json`. Where the wire's spelling differs from the field's, the field says so with `wire()`.

Absent and null mean the same for every field that may be None; a null *inside* a free-form value
survives. Keys that a class does not know are ignored, because servers add fields without notice.
"""

import base64
import binascii
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar, Union, cast, dataclass_transform

import attrs

#: A decoded JSON value. Typed as Any: what is in it is the application's business.
Json: TypeAlias = Any

T = TypeVar("T")

_NAMES: dict[Any, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    bytes: "bytes",
}
_UNIONS = (Union, types.UnionType)


def wire(
    key: str | None = None,
    *,
    inside: str | None = None,
    also: tuple[str, ...] = (),
    also_written: bool = False,
    whole: bool = False,
    rest: bool = False,
) -> dict[str, Any]:
    """Say how a field is spelt on the wire; the result goes into ``attrs.field(metadata=…)``.

    Args:
        key: the JSON key, where it is not the field's name.
        inside: the key of the object, beside the others, in which the field is found.
        also: older keys that are read when `key` is absent, in this order.
        also_written: write the older keys too, with the same value.
        whole: the field is not a key of the object but the whole value, of whatever type.
        rest: the field collects every key that no other field knows.
    """
    return {"wire": _Wire(key, inside, also, also_written, whole, rest)}


@attrs.frozen
class _Wire:
    key: str | None = None
    inside: str | None = None
    also: tuple[str, ...] = ()
    also_written: bool = False
    whole: bool = False
    rest: bool = False


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(attrs.field,))
def record(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only attrs class; fields are checked against their types."""
    return attrs.frozen(kw_only=True, field_transformer=_add_type_checks)(cls)


def replace(record: T, **changes: Any) -> T:
    """Return a copy of `record` with some fields changed."""
    return cast(T, attrs.evolve(cast(Any, record), **changes))


def from_json(cls: type[T], value: Json, **fields: Any) -> T:
    """Make a `cls` from a decoded JSON value; `fields` are those that are not on the wire.

    Raises:
        TypeError: `value` does not fit; the text names the field.
    """
    plan = _plan(cls)
    if plan.whole is not None:
        return cls(**{plan.whole: value}, **fields)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {_describe(value)}")
    for field in plan.fields:
        found = field.find(value)
        if found is not None or (field.takes_anything and field.key in value):
            fields[field.name] = field.load(found)
        elif field.required:
            raise TypeError(f"{field.path} is missing")
    if plan.rest is not None:
        fields[plan.rest] = {key: item for key, item in value.items() if key not in plan.known}
    return cls(**fields)


def to_json(record: Any) -> Json:
    """Return the JSON value of a record: the inverse of `from_json`. None: it has no fields."""
    plan = _plan(type(record))
    if plan.whole is not None:
        return getattr(record, plan.whole)
    if not plan.fields:
        return None
    out: dict[str, Json] = {}
    if plan.rest is not None:
        out.update(getattr(record, plan.rest))
    out.update(plan.tags)
    for field in plan.fields:
        value = getattr(record, field.name)
        # None in a field that must be there is a value: JSON's null.
        if value is None and not field.required:
            continue
        dumped = field.dump(value)
        target = out if field.inside is None else out.setdefault(field.inside, {})
        for key in field.written:
            target[key] = dumped
    return out


# -- type checks -------------------------------------------------------------------------


def _add_type_checks(
    cls: type, fields: list["attrs.Attribute[Any]"]
) -> list["attrs.Attribute[Any]"]:
    return [
        field
        if field.validator is not None or field.metadata.get("off_wire")
        else field.evolve(validator=_TypeCheck(field.name))
        for field in fields
    ]


class _TypeCheck:
    """An attrs validator. It resolves the annotation late: one class is recursive."""

    __slots__ = ("_expected", "_fits", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._expected: Any = None
        self._fits: Callable[[object], bool] | None = None

    def __call__(self, instance: object, attribute: object, value: object) -> None:
        fits = self._fits
        if fits is None:
            self._expected = _hints(type(instance))[self._name]
            fits = self._fits = _checker(self._expected)
        if not fits(value):
            raise TypeError(
                f"{self._name}: expected {_describe_type(self._expected)}, got {_describe(value)}"
            )


def _checker(expected: Any) -> Callable[[object], bool]:
    if expected is Any:
        return lambda value: True
    if expected is float:
        return lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    if expected is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    if isinstance(expected, type):
        return lambda value: isinstance(value, expected)
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in _UNIONS:
        checkers = [_checker(argument) for argument in arguments]
        return lambda value: any(fits(value) for fits in checkers)
    if origin is tuple:
        fits_item = _checker(arguments[0])
        return lambda value: isinstance(value, tuple) and all(map(fits_item, value))
    return lambda value: isinstance(value, cast(type, origin))


def _describe_type(expected: Any) -> str:
    if expected in _NAMES:
        return _NAMES[expected]
    if isinstance(expected, type):
        return expected.__name__
    if typing.get_origin(expected) in _UNIONS:
        return " or ".join(_describe_type(option) for option in _without_none(expected))
    if typing.get_origin(expected) is tuple:
        return f"a tuple, each item {_describe_type(typing.get_args(expected)[0])}"
    return "an object"


def _describe(value: object) -> str:
    """Name a value's type, not the value: what the peer sent may be long, or a secret."""
    if isinstance(value, bool):
        return "true or false"
    names = {
        **_NAMES,
        types.NoneType: "null",
        dict: "an object",
        list: "a list",
        tuple: "a tuple",
    }
    return names.get(type(value), type(value).__name__)


# -- the plan of a class: worked out once, then used for every message -------------------


@attrs.frozen
class _Field:
    name: str
    key: str
    inside: str | None
    also: tuple[str, ...]
    written: tuple[str, ...]
    required: bool
    takes_anything: bool
    load: Callable[[Any], Any]
    dump: Callable[[Any], Any]

    @property
    def path(self) -> str:
        return self.key if self.inside is None else f"{self.inside}.{self.key}"

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key, *self.also) if self.inside is None else (self.inside,)

    def find(self, value: Mapping[str, Json]) -> Json:
        if self.inside is not None:
            value = value.get(self.inside) or {}
            if not isinstance(value, dict):
                raise TypeError(f"{self.inside}: expected an object, got {_describe(value)}")
        found = value.get(self.key)
        if found is None and self.also:
            return next((value[key] for key in self.also if value.get(key) is not None), None)
        return found


@attrs.frozen
class _Plan:
    fields: tuple[_Field, ...]
    whole: str | None
    rest: str | None
    tags: tuple[tuple[str, str], ...]
    known: frozenset[str]


#: Class attributes that name a fixed key and value: how the members of a union are told apart.
_TAG = "WIRE_TAG"


_plans: dict[type, _Plan] = {}


def _plan(cls: type) -> _Plan:
    plan = _plans.get(cls)
    if plan is None:
        plan = _plans[cls] = _make_plan(cls)
    return plan


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _make_plan(cls: type) -> _Plan:
    hints = _hints(cls)
    fields, whole, rest = [], None, None
    for attribute in attrs.fields(cls):
        spelt = attribute.metadata.get("wire", _Wire())
        if attribute.metadata.get("off_wire"):
            continue
        if spelt.whole:
            whole = attribute.name
        elif spelt.rest:
            rest = attribute.name
        else:
            key = spelt.key or attribute.name
            hint = hints[attribute.name]
            fields.append(
                _Field(
                    name=attribute.name,
                    key=key,
                    inside=spelt.inside,
                    also=spelt.also,
                    written=(key, *spelt.also) if spelt.also_written else (key,),
                    required=attribute.default is attrs.NOTHING,
                    takes_anything=hint is Any,
                    load=_loader(key, hint),
                    dump=_dumper(hint),
                )
            )
    tag = getattr(cls, _TAG, None)
    known = frozenset(key for field in fields for key in field.keys)
    return _Plan(tuple(fields), whole, rest, () if tag is None else (tag,), known)


def _without_none(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in _UNIONS:
        return tuple(arg for arg in typing.get_args(hint) if arg is not types.NoneType)
    return (hint,)


def _identity(value: Any) -> Any:
    return value


def _loader(key: str, hint: Any) -> Callable[[Any], Any]:
    """Return what turns a JSON value into what `hint` wants. The class checks the leaves."""
    options = _without_none(hint)
    if options == (bytes,):
        return functools.partial(_load_bytes, key)
    if all(attrs.has(option) for option in options):
        return functools.partial(_load_record, key, options)
    if typing.get_origin(options[0]) is tuple:
        load_item = _loader(key, typing.get_args(options[0])[0])
        return functools.partial(_load_tuple, key, load_item)
    return _identity


def _dumper(hint: Any) -> Callable[[Any], Any]:
    options = _without_none(hint)
    if options == (bytes,):
        return _dump_bytes
    if all(attrs.has(option) for option in options):
        return to_json
    if typing.get_origin(options[0]) is tuple:
        return functools.partial(_dump_tuple, _dumper(typing.get_args(options[0])[0]))
    return _identity


def _load_bytes(key: str, value: Json) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{key}: expected a base64 string, got {_describe(value)}")
    if value.startswith("data:"):
        value = value.rpartition(",")[2]
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise TypeError(f"{key}: not base64") from None


def _dump_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _load_record(key: str, options: tuple[type, ...], value: Json) -> object:
    for option in options:
        tag = getattr(option, _TAG, None)
        if tag is None or (isinstance(value, dict) and value.get(tag[0]) == tag[1]):
            try:
                return from_json(option, value)
            except TypeError as error:
                raise TypeError(
                    f"{key}.{error}" if isinstance(value, dict) else f"{key}: {error}"
                ) from None
    raise TypeError(f"{key}: expected one of {', '.join(option.__name__ for option in options)}")


def _load_tuple(key: str, load_item: Callable[[Any], Any], value: Json) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{key}: expected a list, got {_describe(value)}")
    return tuple(load_item(item) for item in value)


def _dump_tuple(dump_item: Callable[[Any], Any], value: tuple[Any, ...]) -> list[Json]:
    return [dump_item(item) for item in value]
