"""What an answer over HTTP says. How it gets here is `test_http`'s business."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON

from trio_pipecat._http import Answer, Request
from trio_pipecat._http_answer import NO_JSON, explain, not_json, parse, read_error, retry_after

SECRET = "s3cret-word"


def request():
    """Return a request with a secret in it."""
    return Request(f"http://x/?token={SECRET}", {}, "application/json", b"{}", None)


def answer(status, content):
    """Return an answer without headers."""
    return Answer(status, {}, content)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{}", {}),
        (b"null", None),
        (b' [1, "\xc3\xa4"] ', [1, "ä"]),
        (b"", NO_JSON),
        (b"{", NO_JSON),
        (b"\xff", NO_JSON),
        (100_000 * b"[", NO_JSON),
        (5000 * b"1", NO_JSON),
    ],
)
def test_what_is_no_json_is_told_from_null(content, expected):
    """Whatever comes: text that is cut, bytes that are no text, towers and giants."""
    assert expected == parse(content)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "Unknown transport"}, "Unknown transport"),
        ({"detail": [{"loc": ["body", "sdp"], "msg": "Missing", "input": 1}]}, "body.sdp: Missing"),
        ({"detail": [1, {"msg": "a"}, {"loc": 7, "msg": "b"}, {"loc": ["x"]}]}, "a; b"),
        ({"detail": {"message": "no"}}, "no"),
        ({"detail": {"message": 5, "msg": "no"}}, "no"),
        ({"info": "custom"}, "custom"),
        ({"error": "full", "code": "PCC-1002"}, "full (PCC-1002)"),
        ({"message": "full", "code": 429}, "full (429)"),
        ({"detail": None, "error": "x"}, "x"),
        ("text", "text"),
        ({}, ""),
        ([], ""),
    ],
)
def test_an_error_is_read_in_every_known_shape(body, said):
    """FastAPI's two, a custom endpoint's, Pipecat Cloud's two."""
    assert said == read_error(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Invalid WebRTC request", "Invalid WebRTC request"),
        (b"<html><title>Bad Gateway</title>", "Bad Gateway"),
        (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_an_error_that_is_no_json_is_text(content, said):
    """Or a page, whose title says it."""
    assert said == read_error(content)


def test_a_refusal_without_words_is_its_status():
    """HTTP has a phrase for most."""
    assert "Not Found" == explain(request(), answer(404, b""))


def test_what_a_server_repeats_of_our_secrets_is_hidden():
    """In its words, and in what is no JSON."""
    echo = f"no {SECRET}".encode()
    assert "no ***" == explain(request(), answer(400, echo))
    assert "the answer is not JSON: 'no ***'" == not_json(request(), answer(200, echo))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, None), ({"retry-after": "1.5"}, 1.5), ({"retry-after": "-1"}, None)]
    + [({"retry-after": value}, None) for value in ("inf", "nan", "", "Wed, 21 Oct 2015")],
)
def test_the_advice_when_to_come_back_is_a_number_of_seconds(headers, seconds):
    """One that can be slept, or None."""
    assert seconds == retry_after(headers)


@given(JSON | st.binary())
def test_any_error_body_is_read(body):
    """Whatever a server says, the outcome is text."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert isinstance(read_error(content), str)
