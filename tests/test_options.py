"""The keywords of `open_session`: their defaults, their checks, and what their repr hides."""

import math
import types

import attrs
import pytest

from trio_pipecat import AboutClient, InvalidParamsError, SessionKeywords, __version__
from trio_pipecat._options import (
    SessionOptions,
    about_this_client,
    check_headers,
    check_options,
    check_request_data,
    check_seconds,
)

SECONDS = [
    "start_timeout",
    "connect_timeout",
    "ready_timeout",
    "disconnect_timeout",
    "gather_timeout",
    "ping_interval",
    "ping_timeout",
    "audio_buffer",
]
#: What is the wire's own business when it is None.
MAY_BE_NONE = ["ping_interval", "ping_timeout"]
COUNTS = ["event_buffer", "max_message_size", "max_receive_size"]


def refusal(**keywords):
    """Return what `check_options` says against some keywords."""
    with pytest.raises(InvalidParamsError) as caught:
        check_options(keywords)
    return str(caught.value)


# -- keywords ----------------------------------------------------------------------------


def test_keywords_and_options_are_the_same():
    """Every keyword is an option, in the same order, and none is missing."""
    expected = [field.name for field in attrs.fields(SessionOptions)]
    assert expected == [*SessionKeywords.__annotations__]


def test_every_keyword_has_a_default():
    """No keyword at all is fine: there may be a first argument."""
    options = check_options({})
    assert (30, 15, 30, 3) == (
        options.start_timeout,
        options.connect_timeout,
        options.ready_timeout,
        options.disconnect_timeout,
    )
    assert {} == options.headers
    assert "header" == options.token_in
    assert not options.allow_insecure_token
    assert options.disconnect_on_bot_disconnect
    assert (None, None, 2) == (options.ping_interval, options.ping_timeout, options.gather_timeout)
    assert (16_000, 24_000) == (options.audio_in_sample_rate, options.audio_out_sample_rate)
    assert not options.trickle_ice


def test_an_unknown_keyword_is_a_type_error():
    """A keyword that is misspelt is no option: Python's own error says so."""
    with pytest.raises(TypeError, match="endpiont"):
        check_options({"endpiont": "http://localhost"})


def test_none_means_the_default():
    """Headers that are None are none."""
    assert {} == check_options({"headers": None}).headers


def test_options_do_not_change():
    """Options are a value; the headers are a copy of the caller's."""
    headers = {"X-Name": "a"}
    options = check_options({"headers": headers})
    headers["X-Name"] = "b"
    assert {"X-Name": "a"} == options.headers
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        options.token = "x"


def test_the_client_says_who_it_is():
    """The package says its name and version in ``client-ready``."""
    about = about_this_client()
    assert isinstance(about, AboutClient)
    assert ("trio-pipecat", __version__) == (about.library, about.library_version)
    assert about.platform_version.startswith("Python 3.")
    assert about == check_options({}).about


# -- numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0.001, 1, 1e9, math.inf])
def test_seconds_are_positive(name, value):
    """A time is any positive number; infinity means no deadline, and a goodbye has to have one."""
    if (name, value) == ("disconnect_timeout", math.inf):
        with pytest.raises(InvalidParamsError, match="disconnect_timeout can't be endless"):
            check_options({name: value})
        return
    assert value == getattr(check_options({name: value}), name)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, -1, -math.inf, math.nan, True, False, "30", None, [1], 1j])
def test_seconds_that_are_none_are_refused(name, value):
    """A time that is zero, negative, no number, or a number by accident, is an error."""
    if value is None and name in MAY_BE_NONE:
        assert None is getattr(check_options({name: value}), name)
        return
    assert f"{name} is a positive number, not {value!r}" == refusal(**{name: value})


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_positive(name):
    """A size is a positive whole number."""
    assert 1 == getattr(check_options({name: 1}), name)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.0, math.inf, math.nan, True, "1", None])
def test_counts_that_are_none_are_refused(name, value):
    """A size that is anything else is an error."""
    assert f"{name} is a positive integer, not {value!r}" == refusal(**{name: value})


@pytest.mark.parametrize("rate", [8_000, 11_025, 48_000])
def test_the_bots_sound_is_given_at_a_rate_of_opus(rate):
    """Any rate that a telephone or WebRTC has."""
    assert rate == check_options({"audio_out_sample_rate": rate}).audio_out_sample_rate


@pytest.mark.parametrize("rate", [7_999, 48_001, 16_000.0, None, True, "16000"])
def test_other_rates_of_the_bots_sound_are_refused(rate):
    """Above there is nothing on the wire, below nothing to understand."""
    said = refusal(audio_out_sample_rate=rate)
    assert said.startswith("audio_out_sample_rate is ")
    assert said.endswith(f"not {rate!r}")


def test_seconds_are_checked_by_name():
    """`check_seconds` serves functions that are no options too."""
    check_seconds("start_timeout", 0.5)
    with pytest.raises(InvalidParamsError, match="start_timeout is a positive number, not 0"):
        check_seconds("start_timeout", 0)


# -- headers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"Authorization": "Bearer abc"}, {"Authorization": "Bearer abc"}),
        ({"X_Odd.Name~1": "a\tb"}, {"X_Odd.Name~1": "a\tb"}),
        ({"X-Name": " Ärger "}, {"X-Name": "Ärger"}),
        ({"X-Empty": ""}, {"X-Empty": ""}),
        ([("X-Name", "a")], {"X-Name": "a"}),
        (types.MappingProxyType({"X-Name": "a"}), {"X-Name": "a"}),
    ],
)
def test_headers_that_can_be_sent(given, expected):
    """Headers are strings of Latin-1; white space around a value is not part of it."""
    assert expected == check_headers(given)
    assert expected == check_options({"headers": given}).headers


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (7, "headers are a mapping of names to values"),
        ("Authorization: s3cret", "headers are a mapping of names to values"),
        (["s3cret"], "headers are a mapping of names to values"),
        ({"X-Name": None}, "headers are strings"),
        ({"X-Name": b"s3cret"}, "headers are strings"),
        ({b"X-Name": "s3cret"}, "headers are strings"),
        ({7: "s3cret"}, "headers are strings"),
        ({"": "s3cret"}, "not the name of a header: ''…"),
        ({"X Name": "s3cret"}, "not the name of a header: 'X'…"),
        ({"X-Name:": "s3cret"}, "not the name of a header: 'X-Name'…"),
        ({"Authorization: s3cret": ""}, "not the name of a header: 'Authorization'…"),
        ({"X-Name\r\nX-Other": "s3cret"}, "not the name of a header: 'X-Name'…"),
        ({"X-Name\n": "s3cret"}, "not the name of a header: 'X-Name'…"),
        ({"Ärger": "s3cret"}, "not the name of a header: ''…"),
        ({"X-Name": "s3cret\r\nX: y"}, "the header X-Name holds a line break or control character"),
        ({"X-Name": "s3cret\n"}, "the header X-Name holds a line break or control character"),
        ({"X-Name": "s3cret\0"}, "the header X-Name holds a line break or control character"),
        ({"X-Name": "s3cret\x7f"}, "the header X-Name holds a line break or control character"),
        ({"X-Name": "s3cret€"}, "the header X-Name is not Latin-1 text"),
        ({"Content-Length": "5"}, "the header Content-Length is HTTP's own business"),
        ({"transfer-encoding": "x"}, "the header transfer-encoding is HTTP's own business"),
        ({"Connection": "close"}, "the header Connection is HTTP's own business"),
        ({"Upgrade": "websocket"}, "the header Upgrade is HTTP's own business"),
    ],
)
def test_headers_that_cannot_be_sent(headers, why):
    """A header that can't be sent is an error that names it, without its value."""
    assert why == refusal(headers=headers)


# -- request data ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"transport": "webrtc", "body": {"a": [1, 1.5, True, None, "ä", {}]}},
        types.MappingProxyType({"a": 1}),
    ],
)
def test_request_data_is_a_json_object(data):
    """Any mapping that JSON can say will do."""
    check_request_data(data)
    assert data == check_options({"request_data": data}).request_data


LOOP: dict = {}
LOOP["loop"] = LOOP


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "request_data is an object (a mapping)"),
        ([("a", 1)], "request_data is an object (a mapping)"),
        ("{}", "request_data is an object (a mapping)"),
        (7, "request_data is an object (a mapping)"),
        ({"a": b"s3cret"}, "request_data can't be JSON: Object of type bytes"),
        ({"a": {"s3cret"}}, "request_data can't be JSON: Object of type set"),
        ({"a": math.nan}, "request_data can't be JSON: Out of range float"),
        ({"a": math.inf}, "request_data can't be JSON: Out of range float"),
        ({("a", "b"): 1}, "request_data can't be JSON: keys must be str"),
        (LOOP, "request_data can't be JSON: Circular reference"),
    ],
)
def test_request_data_that_is_no_json_object_is_refused(data, why):
    """What can't be said in JSON is refused before anything is tried, without its contents."""
    said = refusal(request_data=data)
    assert said.startswith(why)
    assert "s3cret" not in said


def test_request_data_that_is_too_deep_is_refused():
    """A tower of lists is no request."""
    tower: list = []
    for _ in range(100_000):
        tower = [tower]
    assert "request_data can't be JSON" in refusal(request_data={"a": tower})


# -- the rest ----------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["header", "query", "path"])
def test_a_token_travels_in_one_of_three_places(place):
    """``token_in`` is header, query or path."""
    assert place == check_options({"token_in": place}).token_in


@pytest.mark.parametrize("place", ["cookie", "Header", None, 7, ["header"]])
def test_a_token_travels_nowhere_else(place):
    """``token_in`` is nothing else."""
    expected = f"token_in is one of ('header', 'query', 'path'), not {place!r}"
    assert expected == refusal(token_in=place)


@pytest.mark.parametrize("name", ["token", "origin"])
@pytest.mark.parametrize("value", [b"s3cret", 7, "s3cret\r\nX: y", "s3cret€", "s3cret\0"])
def test_what_becomes_a_header_can_be_one(name, value):
    """A token or an origin that can't go into a header is refused, and not shown."""
    assert f"{name} is a string of printable ASCII characters" == refusal(**{name: value})


def test_a_token_and_an_origin_are_kept():
    """A token and an origin that can be sent are taken as they are."""
    options = check_options({"token": "abc.DEF-123_/+=", "origin": "https://app.example"})
    assert ("abc.DEF-123_/+=", "https://app.example") == (options.token, options.origin)


def connector(params, options):
    """Stand for a connector: nobody calls it here."""
    raise AssertionError


@pytest.mark.parametrize("transport", [None, "websocket", connector])
def test_a_transport_is_a_name_or_a_connector(transport):
    """What opens the link is named or given."""
    assert transport is check_options({"transport": transport}).transport


@pytest.mark.parametrize("transport", [7, b"websocket", ["websocket"]])
def test_a_transport_is_nothing_else(transport):
    """What can't be called can't open a link."""
    assert "transport is a name or a connector" == refusal(transport=transport)


def test_options_show_no_secret():
    """The repr of options names headers and hides values, tokens, and what is secret in URLs."""
    secret = "s3cret-word"
    url = f"//{secret}:{secret}@bot.example/x?token={secret}"
    options = check_options(
        {
            "endpoint": f"http:{url}",
            "ws_url": f"ws:{url}",
            "webrtc_url": f"http:{url}",
            "base_url": f"http:{url}",
            "token": secret,
            "headers": {"Authorization": f"Bearer {secret}"},
            "request_data": {"api_key": secret},
            "offer_url_template": f"http:{url}&id=:sessionId",
            "ice_servers": [{"urls": "turn:x", "credential": secret}],
        }
    )
    assert secret not in repr(options)
    assert "endpoint='http://bot.example/x?token=***'" in repr(options)
    assert "headers=['Authorization']" in repr(options)
    assert "ws_url=None" in repr(check_options({}))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("about", "me", "about is an AboutClient, not str"),
        ("about", {"library": "me"}, "about is an AboutClient, not dict"),
        ("ssl_context", True, "ssl_context is SSLContext or None, not bool"),
        ("ice_servers", "stun:x", "ice_servers is a list"),
        ("ice_servers", 5, "ice_servers is a list"),
        ("ice_servers", [{"urls": "http://x"}], "ICE server 1 has a URL that can't be used: "),
        ("ice_servers", [{"urls": "stun:x"}, 5], "ICE server 2 is no object with urls"),
        ("trickle_ice", 1, "trickle_ice is bool, not int"),
        ("allow_insecure_token", 1, "allow_insecure_token is bool, not int"),
        ("disconnect_on_bot_disconnect", "no", "disconnect_on_bot_disconnect is bool, not str"),
    ],
)
def test_what_is_of_another_kind_is_refused(name, value, why):
    """Before anything is tried, with its name."""
    with pytest.raises(InvalidParamsError) as refused:
        check_options({name: value})
    assert str(refused.value).startswith(why)


def test_what_the_client_says_of_itself_can_be_sent():
    """Or is refused before there is a link."""
    with pytest.raises(InvalidParamsError, match="about can't be sent"):
        check_options({"about": AboutClient(library="x", platform_details={"a": object()})})
