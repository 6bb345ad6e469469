"""How a frozen class maps to a JSON object, on classes made for the purpose."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

import attrs
import pytest

from trio_pipecat._wire import from_json, record, replace, to_json, wire


class Colour(StrEnum):
    RED = "red"


@record
class Empty:
    pass


@record
class Point:
    x: int
    y: int = 0


@record
class Leaves:
    text: str = ""
    flag: bool = False
    count: int = 0
    share: float = 0.0
    colour: Colour = Colour.RED
    maybe: str | None = None
    anything: Any = None
    mapping: Mapping[str, Any] = attrs.field(factory=dict)
    either: Mapping[str, Any] | str = ""
    several: tuple[int, ...] = ()
    point: Point | None = None


@record
class Spelt:
    number: int = attrs.field(default=0, metadata=wire("n"))
    deep: int = attrs.field(default=1, metadata=wire("d", inside="options"))
    deeper: Any = attrs.field(default=None, metadata=wire(inside="options"))
    old: str | None = attrs.field(default=None, metadata=wire("new", also=("older", "oldest")))
    both: str | None = attrs.field(
        default=None, metadata=wire("now", also=("then",), also_written=True)
    )
    here: float = attrs.field(default=0.5, metadata={"off_wire": True})


@record
class Whole:
    data: Any = attrs.field(default=None, metadata=wire(whole=True))
    id: str = attrs.field(default="", metadata={"off_wire": True})


@record
class Rest:
    known: int | None = attrs.field(default=None, metadata=wire("k", also=("kk",)))
    inner: int | None = attrs.field(default=None, metadata=wire(inside="in"))
    other: Mapping[str, Any] = attrs.field(factory=dict, metadata=wire(rest=True))


@record
class Circle:
    WIRE_TAG: ClassVar[tuple[str, str]] = ("kind", "circle")
    radius: float


@record
class Square:
    WIRE_TAG: ClassVar[tuple[str, str]] = ("kind", "square")
    side: float


@record
class Drawing:
    shapes: tuple[Circle | Square, ...] = ()
    frame: Square | Circle | None = None
    centre: Point | None = None


@record
class Sound:
    pcm: bytes
    chunks: tuple[bytes, ...] = ()


@record
class Branch:
    name: str
    children: tuple["Branch", ...] | None = None


@record
class Checked:
    even: int = attrs.field(validator=lambda *_: None)


def refusal(cls, value):
    with pytest.raises(TypeError) as refused:
        from_json(cls, value)
    return str(refused.value)


# -- reading and writing -----------------------------------------------------------------


def test_keys_are_the_names_of_the_fields():
    """A field is found under its own name, and written under it."""
    assert Point(x=1, y=2) == from_json(Point, {"x": 1, "y": 2})
    assert {"x": 1, "y": 2} == to_json(Point(x=1, y=2))


def test_keys_nobody_knows_are_ignored():
    """Servers add keys without notice; they do no harm."""
    assert Point(x=1) == from_json(Point, {"x": 1, "z": {"deep": []}})


@pytest.mark.parametrize("value", [{}, None, {"y": None}])
def test_required_field_has_to_be_there(value):
    """A field without a default is missing whether it is absent or null, or there is no object."""
    assert "x is missing" == refusal(Point, value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [([], "a list"), ("{}", "a string"), (1, "an integer"), (True, "true or false")],
)
def test_only_an_object_has_keys(value, kind):
    """A class with keys is made of an object."""
    assert f"expected an object, got {kind}" == refusal(Point, value)


def test_null_and_absent_are_the_same():
    """A null in a field with a default stands for the default."""
    assert Leaves() == from_json(Leaves, dict.fromkeys(attrs.fields_dict(Leaves)))


def test_none_is_not_written():
    """A field that is None has no key."""
    assert {"maybe", "anything", "point"}.isdisjoint(to_json(Leaves()))


def test_null_inside_a_free_value_survives():
    """Nulls inside of what may be anything are the application's."""
    data = {"anything": {"a": None, "b": [None]}}
    assert data["anything"] == from_json(Leaves, data).anything
    assert data["anything"] == to_json(from_json(Leaves, data))["anything"]


def test_record_without_fields_has_no_json():
    """A class without fields is written as nothing at all, and read from nothing or an object."""
    assert to_json(Empty()) is None
    assert Empty() == from_json(Empty, None) == from_json(Empty, {"new": 1})


def test_fields_that_are_not_on_the_wire_are_given():
    """What is not on the wire comes by keyword; it is not written."""
    spelt = from_json(Spelt, {"here": 7}, here=2.5)
    assert 2.5 == spelt.here
    assert "here" not in to_json(spelt)


# -- spelling ----------------------------------------------------------------------------


def test_field_may_have_another_key():
    """A field with a key of its own is read and written there, and not under its name."""
    assert Spelt(number=3) == from_json(Spelt, {"n": 3, "number": 4})
    assert 3 == to_json(Spelt(number=3))["n"]


def test_field_may_be_inside_an_object():
    """Fields inside an object beside the others share that object."""
    spelt = Spelt(deep=2, deeper=[3])
    assert {"d": 2, "deeper": [3]} == to_json(spelt)["options"]
    assert spelt == from_json(Spelt, {"options": {"d": 2, "deeper": [3], "more": 4}})


@pytest.mark.parametrize("options", [None, {}, {"d": None}])
def test_object_around_a_field_may_be_absent(options):
    """Without the object around it a field takes its default."""
    assert Spelt() == from_json(Spelt, {"options": options})


def test_object_around_a_field_is_an_object():
    """What should hold fields, and is no object, is refused by its name."""
    assert "options: expected an object, got a list" == refusal(Spelt, {"options": [1]})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"new": "a", "older": "b", "oldest": "c"}, "a"),
        ({"older": "b", "oldest": "c"}, "b"),
        ({"new": None, "older": None, "oldest": "c"}, "c"),
        ({"new": "", "older": "b"}, ""),
        ({}, None),
    ],
)
def test_older_keys_are_read_in_order(value, expected):
    """Older keys are read where the newer are absent or null."""
    assert expected == from_json(Spelt, value).old


def test_older_keys_are_written_where_asked():
    """Only a field that says so is written under its older keys too."""
    out = to_json(Spelt(old="a", both="b"))
    assert ("a", "b", "b") == (out["new"], out["now"], out["then"])
    assert "older" not in out


@pytest.mark.parametrize("value", [None, 0, "", [], {"data": 1}, [None]])
def test_field_may_be_the_whole_value(value):
    """A field that is the whole takes any JSON, null too, and gives it back."""
    assert Whole(data=value, id="7") == from_json(Whole, value, id="7")
    assert value == to_json(Whole(data=value))


def test_field_may_collect_what_no_other_knows():
    """A field for the rest has every key that no other is read from."""
    value = {"k": 1, "kk": 2, "in": {"inner": 3, "lost": 4}, "later": None, "other": [5]}
    rest = Rest(known=1, inner=3, other={"later": None, "other": [5]})
    assert rest == from_json(Rest, value)
    assert {"k": 1, "in": {"inner": 3}, "later": None, "other": [5]} == to_json(rest)


def test_rest_does_not_overwrite_fields():
    """Where the rest has a key of another field, the field wins."""
    assert {"k": 1} == to_json(Rest(known=1, other={"k": 2}))


# -- nested values -----------------------------------------------------------------------


def test_records_nest():
    """A field that is a record is an object in the object, recursively."""
    tree = Branch(name="a", children=(Branch(name="b", children=()), Branch(name="c")))
    value = {"name": "a", "children": [{"name": "b", "children": []}, {"name": "c"}]}
    assert tree == from_json(Branch, value)
    assert value == to_json(tree)


def test_members_of_a_union_are_told_apart_by_their_tag():
    """Where a field takes several records, a fixed key and value say which it is."""
    drawing = Drawing(shapes=(Circle(radius=1), Square(side=2)), frame=Circle(radius=3))
    value = {
        "shapes": [{"kind": "circle", "radius": 1}, {"kind": "square", "side": 2}],
        "frame": {"kind": "circle", "radius": 3},
    }
    assert drawing == from_json(Drawing, value)
    assert value == to_json(drawing)


@pytest.mark.parametrize("frame", [{"kind": "oval"}, {"kind": None}, {}, [], "square", 0])
def test_value_of_no_member_of_a_union_is_refused(frame):
    """A value without any of the tags is refused, and the text names the choices."""
    assert "frame: expected one of Square, Circle" == refusal(Drawing, {"frame": frame})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"centre": {}}, "centre.x is missing"),
        ({"centre": {"x": "1"}}, "centre.x: expected an integer, got a string"),
        ({"centre": [1]}, "centre: expected an object, got a list"),
        ({"frame": {"kind": "square"}}, "frame.side is missing"),
        (
            {"shapes": [{"kind": "circle", "radius": []}]},
            "shapes.radius: expected a number, got a list",
        ),
        ({"shapes": {"kind": "circle"}}, "shapes: expected a list, got an object"),
    ],
)
def test_refusal_names_the_way_to_the_field(value, reason):
    """What is wrong deep inside is named with the way there."""
    assert reason == refusal(Drawing, value)


def test_null_in_a_list_of_records_lacks_their_fields():
    """A null is no record: its fields are missing."""
    assert "children: name is missing" == refusal(Branch, {"name": "a", "children": [None]})


# -- bytes -------------------------------------------------------------------------------


def test_bytes_are_base64():
    """Bytes are base64 in JSON, alone and in lists."""
    sound = Sound(pcm=b"\x00\xff", chunks=(b"", b"\x01"))
    assert {"pcm": "AP8=", "chunks": ["", "AQ=="]} == to_json(sound)
    assert sound == from_json(Sound, to_json(sound))


def test_bytes_may_be_a_data_url():
    """Before the base64 there may be what makes it a data: URL."""
    assert b"\x00\xff" == from_json(Sound, {"pcm": "data:audio/wav;base64,AP8="}).pcm


@pytest.mark.parametrize("text", ["AP8", "A P8=", "AP8=AP8=!", "ÄÖ==", "\ud800", "data:AP8="])
def test_what_is_not_base64_is_refused(text):
    """Text that is not quite base64 is refused, by the field's key."""
    assert "pcm: not base64" == refusal(Sound, {"pcm": text})


def test_bytes_are_made_of_text():
    """A value that is no string holds no bytes."""
    assert "pcm: expected a base64 string, got a list" == refusal(Sound, {"pcm": [0, 255]})
    value = {"pcm": "", "chunks": [None]}
    assert "chunks: expected a base64 string, got null" == refusal(Sound, value)


# -- type checks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("text", 1, "expected a string, got an integer"),
        ("text", None, "expected a string, got null"),
        ("flag", 0, "expected true or false, got an integer"),
        ("count", True, "expected an integer, got true or false"),
        ("count", 1.0, "expected an integer, got a number"),
        ("share", "1", "expected a number, got a string"),
        ("share", False, "expected a number, got true or false"),
        ("colour", "red", "expected Colour, got a string"),
        ("maybe", b"", "expected a string, got bytes"),
        ("mapping", [], "expected an object, got a list"),
        ("either", 1, "expected an object or a string, got an integer"),
        ("several", [1], "expected a tuple, each item an integer, got a list"),
        ("several", ("1",), "expected a tuple, each item an integer, got a tuple"),
        ("point", {}, "expected Point, got an object"),
        ("point", Colour, "expected Point, got EnumType"),
    ],
)
def test_fields_are_checked_against_their_types(field, value, reason):
    """A record with a wrong field can't be made; the text names types, never the value."""
    with pytest.raises(TypeError) as refused:
        Leaves(**{field: value})
    assert f"{field}: {reason}" == str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"share": 1},
        {"share": float("nan")},
        {"maybe": None},
        {"maybe": ""},
        {"anything": object},
        {"mapping": {1: 2}},
        {"either": "text"},
        {"either": {}},
        {"several": (1, 2)},
        {"point": Point(x=1)},
    ],
    ids=str,
)
def test_fields_take_what_their_types_allow(fields):
    """Integers are numbers, None is allowed where it says so, anything is anything."""
    ((name, value),) = fields.items()
    assert value is getattr(Leaves(**fields), name)


def test_validator_of_its_own_replaces_the_check():
    """A field that has a validator is checked by that alone."""
    assert "odd" == Checked(even="odd").even


def test_records_are_frozen_and_made_by_keyword():
    """A record is a value."""
    with pytest.raises(TypeError, match="positional"):
        Point(1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Point(x=1).x = 2


def test_replace_changes_a_copy():
    """`replace` returns a record with some fields changed, and checks them."""
    point = Point(x=1, y=2)
    assert Point(x=1, y=3) == replace(point, y=3)
    assert Point(x=1, y=2) == point
    with pytest.raises(TypeError, match=r"^y: expected an integer"):
        replace(point, y="3")
