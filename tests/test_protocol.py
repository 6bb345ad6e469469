"""The client's half of the conversation, told by hand what the bot says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import COMMAND_CLASSES, EVENT_CLASSES, records, sample

from trio_pipecat._codec import encode_event
from trio_pipecat._errors import ProtocolError, UnsupportedFeatureError
from trio_pipecat._events import ProtocolMismatch
from trio_pipecat._messages import (
    RTVI_VERSION,
    AboutClient,
    BotInterrupted,
    BotReady,
    BotStartedSpeaking,
    ClientMessage,
    DisconnectBot,
    Dtmf,
    ErrorResponse,
    LlmFunctionCall,
    LlmFunctionCallInProgress,
    LlmFunctionCallStarted,
    LlmFunctionCallStopped,
    MalformedMessage,
    SendText,
    ServerResponse,
    UnknownMessage,
)
from trio_pipecat._protocol import (
    ClientProtocol,
    FunctionCall,
    Outgoing,
    ProtocolVersions,
    parse_version,
)
from trio_pipecat._wire import replace

ABOUT = AboutClient(library="trio-pipecat", library_version="1")
CALL = FunctionCall(function_name="f", arguments={"x": 1}, tool_call_id="c1")


def tell(protocol, event, at=0.0):
    return protocol.receive(encode_event(event), at=at)


def greeted():
    protocol = ClientProtocol(ABOUT)
    return protocol, protocol.hello().id


def ready(version=RTVI_VERSION):
    protocol, hello = greeted()
    tell(protocol, BotReady(id=hello, version=version))
    return protocol


def decoded(outgoing):
    return [json.loads(text) for text in outgoing.texts]


# -- versions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("2.2.0", (2, 2, 0)),
        ("0.0.0", (0, 0, 0)),
        ("10.20.30", (10, 20, 30)),
        ("2.2", None),
        ("2.2.0.0", None),
        ("2.2.x", None),
        ("2.2.-1", None),
        ("2.2.+1", None),
        ("2..0", None),
        ("2.2.0rc1", None),
        ("2.2.0\n", None),
        (" 2.2.0", None),
        ("².2.0", None),
        ("٢.٢.٠", None),
        ("", None),
        ("9" * 5000 + ".0.0", None),
    ],
)
def test_version_is_three_numbers(version, numbers):
    """A version is three numbers with points between them, and nothing else is."""
    assert numbers == parse_version(version)


@given(version=st.text() | st.from_regex(r"\d+\.\d+\.\d+"))
def test_any_text_is_a_version_or_none(version):
    """Whatever a bot says as its version, it is numbers or it is not."""
    numbers = parse_version(version)
    assert numbers is None or 3 == len(numbers)


def test_nothing_is_known_before_the_bot_is_ready():
    """Before the bot is ready its version is unknown, and that is no problem."""
    versions = ClientProtocol(ABOUT).versions
    assert ProtocolVersions(ours=RTVI_VERSION, bot=None, problem=None) == versions
    assert versions.effective is None


# -- ids, and what goes out --------------------------------------------------------------


def test_hello_is_client_ready():
    """The first message says our version and who we are."""
    outgoing = ClientProtocol(ABOUT).hello()
    about = {"library": "trio-pipecat", "library_version": "1"}
    expected = {
        "label": "rtvi-ai",
        "type": "client-ready",
        "id": "client-ready-1",
        "data": {"version": "2.2.0", "about": about},
    }
    assert [expected] == decoded(outgoing)
    assert "client-ready-1" == outgoing.id


def test_ids_differ_and_say_the_type():
    """Messages are numbered through, and an id says what the message is."""
    protocol = ready()
    outgoing = [
        protocol.send(SendText(content="hi")),
        protocol.request("time", None, list),
        protocol.send_raw("later", {}),
        protocol.send(DisconnectBot()),
    ]
    expected = ["send-text-2", "client-message-3", "later-4", "disconnect-bot-5"]
    assert expected == [item.id for item in outgoing]
    assert expected == [json.loads(item.texts[0])["id"] for item in outgoing]


def test_two_links_number_their_messages_alike():
    """Ids are counted within a link, so that logs can be compared."""
    assert ClientProtocol(ABOUT).hello() == ClientProtocol(ABOUT).hello()


def test_size_is_that_of_the_largest_text_in_utf_8():
    """What counts against the limit of a link is the largest message, in bytes."""
    assert 4 == Outgoing(id="2", texts=("ab", "üß", "abc")).size
    text = ClientProtocol(ABOUT).send_raw("x", "€").texts[0]
    assert len(text) + 2 == Outgoing(id="1", texts=(text,)).size


@pytest.mark.parametrize("data", [None, [1], {"a": None}])
def test_raw_message_is_not_checked(data):
    """A message of any type and with any data goes out as it is, whatever the bot's version."""
    (raw,) = decoded(ready("1.0.0").send_raw("send-file", data))
    assert "send-file" == raw["type"]
    assert data == raw.get("data")


def test_what_json_can_not_carry_is_a_value_error():
    """Data that JSON can't carry is refused before anything is sent."""
    protocol = ready()
    with pytest.raises(ValueError, match="JSON can't carry this"):
        protocol.send(ClientMessage(t="t", d=float("nan")))
    with pytest.raises(ValueError, match="JSON can't carry this"):
        protocol.send_raw("later", "\ud800")
    with pytest.raises(ValueError, match="JSON can't carry this"):
        protocol.request("t", {1, 2}, list)


# -- getting ready -----------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.2.0", "2.0.0", "2.9.1"])
def test_bot_is_ready_when_it_answers_hello(version):
    """The answer to our hello means that the bot is ready; its version is the one that counts."""
    protocol, hello = greeted()
    answer = BotReady(id=hello, version=version)
    assert [answer] == tell(protocol, answer, at=1.5)
    assert answer == protocol.bot_ready
    assert 1.5 == protocol.bot_ready.at
    assert ProtocolVersions(bot=version) == protocol.versions
    assert parse_version(version) == protocol.versions.effective


def test_bot_may_be_ready_without_an_id():
    """A bot that says it is ready of its own accord has an empty id, and is ready."""
    protocol, _ = greeted()
    assert [BotReady(version="2.2.0")] == tell(protocol, BotReady(version="2.2.0"))
    assert BotReady(version="2.2.0") == protocol.bot_ready


def test_ready_for_somebody_else_is_an_event_only():
    """A bot-ready with a foreign id answers another hello: the bot is not ready for us."""
    protocol, _ = greeted()
    foreign = BotReady(id="client-ready-9", version="1.0.0")
    assert [foreign] == tell(protocol, foreign)
    assert protocol.bot_ready is None
    assert ProtocolVersions() == protocol.versions


def test_second_ready_replaces_the_first():
    """A bot that says it twice is ready once; the last one has the say about versions."""
    protocol = ready("1.4.0")
    again = BotReady(id="", version="2.0.0")
    assert [again] == tell(protocol, again)
    assert again == protocol.bot_ready
    assert "2.0.0" == protocol.versions.bot


@pytest.mark.parametrize(
    ("version", "detail"),
    [
        ("1.4.0", "the bot speaks RTVI 1.4.0, this client 2.2.0"),
        ("0.3.0", "the bot speaks RTVI 0.3.0, this client 2.2.0"),
        ("3.0.0", "the bot speaks RTVI 3.0.0, this client 2.2.0"),
        ("2.2", "the bot gave its version as '2.2'"),
        ("two", "the bot gave its version as 'two'"),
        ("", "the bot gave its version as ''"),
        ("9" * 12 + ".0.0", "the bot gave its version as '999999999999.0.0'"),
    ],
)
def test_other_major_version_is_a_mismatch(version, detail):
    """A version with another major number, or that is none, is told just before bot-ready."""
    protocol, hello = greeted()
    answer = BotReady(id=hello, version=version)
    mismatch = ProtocolMismatch(ours="2.2.0", bot=version or None, detail=detail)
    events = tell(protocol, answer, at=2.5)
    assert [mismatch, answer] == events
    assert [2.5, 2.5] == [event.at for event in events]
    assert ProtocolVersions(bot=version or None, problem=detail) == protocol.versions


def test_mismatch_is_told_once():
    """A bot that says it is ready twice has one mismatch."""
    protocol = ready("1.4.0")
    again = BotReady(id="client-ready-1", version="1.4.0")
    assert [again] == tell(protocol, again)
    assert "the bot speaks RTVI 1.4.0, this client 2.2.0" == protocol.versions.problem


def test_hello_may_be_said_again():
    """On another connection its answer counts, and only that; until then what was agreed holds."""
    protocol = ready("2.0.0")
    again = protocol.hello().id
    assert "2.0.0" == protocol.versions.bot
    late = BotReady(id="client-ready-1", version="1.0.0")
    assert [late] == tell(protocol, late)
    assert "2.0.0" == protocol.versions.bot
    answer = BotReady(id=again, version="2.2.0")
    assert [answer] == tell(protocol, answer)
    assert (answer, "2.2.0") == (protocol.bot_ready, protocol.versions.bot)


def test_another_bot_has_another_mismatch():
    """Or none: what was wrong with the one before is over, and what is new is told."""
    protocol = ready("1.4.0")
    answer = BotReady(id=protocol.hello().id, version="2.2.0")
    assert [answer] == tell(protocol, answer)
    assert None is protocol.versions.problem
    answer = BotReady(id=protocol.hello().id, version="3.0.0")
    mismatch, _ = tell(protocol, answer)
    assert "the bot speaks RTVI 3.0.0, this client 2.2.0" == mismatch.detail


def test_complaint_about_our_version_is_no_refusal():
    """An error-response to hello is followed by bot-ready, and is why there is a mismatch."""
    protocol, hello = greeted()
    complaint = ErrorResponse(id=hello, error="not compatible")
    assert [complaint] == tell(protocol, complaint)
    assert protocol.bot_ready is None
    answer = BotReady(id=hello, version="2.2.0")
    mismatch = ProtocolMismatch(ours="2.2.0", bot="2.2.0", detail="not compatible")
    assert [mismatch, answer] == tell(protocol, answer)
    assert answer == protocol.bot_ready
    assert (2, 2, 0) == protocol.versions.effective


def test_servers_words_come_before_ours():
    """Where the server complains of a mismatch that we see too, its words are the detail."""
    protocol, hello = greeted()
    tell(protocol, ErrorResponse(id=hello, error="not compatible"))
    mismatch, _ = tell(protocol, BotReady(id=hello, version="1.4.0"))
    assert "not compatible" == mismatch.detail


# -- what a version has ------------------------------------------------------------------

REFUSED = {
    "0.3.0": "dtmf send-file send-text ui-cancel-job-group ui-event ui-snapshot",
    "1.0.0": "dtmf send-file send-text ui-cancel-job-group ui-event ui-snapshot",
    "1.1.0": "dtmf send-file ui-cancel-job-group ui-event ui-snapshot",
    "1.2.0": "dtmf send-file ui-cancel-job-group ui-event ui-snapshot",
    "1.3.0": "dtmf send-file ui-cancel-job-group",
    "1.4.0": "dtmf send-file",
    "2.0.0": "send-file",
    "2.1.0": "send-file",
    "2.2.0": "",
    "2.3.0": "",
    "3.0.0": "",
    "2.2": "",
    "": "",
}


@pytest.mark.parametrize(("version", "refused"), REFUSED.items())
def test_commands_that_the_bot_does_not_know_are_refused(version, refused):
    """A command is refused where the bot's version is known to be older than it."""
    protocol = ready(version)
    actual = set()
    for cls in COMMAND_CLASSES:
        try:
            protocol.send(sample(cls))
        except UnsupportedFeatureError as error:
            actual.add(error.feature)
    assert set(refused.split()) == actual


def test_refusal_says_what_it_takes():
    """The error names both versions: the one it takes, and the bot's."""
    with pytest.raises(UnsupportedFeatureError) as refused:
        ready("1.4.0").send(Dtmf(buttons=("1",)))
    assert "dtmf" == refused.value.feature
    assert "RTVI 2.0, this bot speaks 1.4.0" == refused.value.needs


@pytest.mark.parametrize("version", ["2.1.0", "2.2.0", "3.0.0"])
def test_keys_go_out_as_a_list(version):
    """Bots since RTVI 2.1 take all keys in one message."""
    outgoing = ready(version).send(Dtmf(buttons=("1", "#")))
    assert [{"buttons": ["1", "#"]}] == [raw["data"] for raw in decoded(outgoing)]


def test_keys_go_out_one_by_one_to_an_older_bot():
    """Bots of RTVI 2.0 take one key a message; the id is that of the last."""
    outgoing = ready("2.0.0").send(Dtmf(buttons=("1", "#")))
    raws = decoded(outgoing)
    assert [{"button": "1"}, {"button": "#"}] == [raw["data"] for raw in raws]
    assert ["dtmf-2", "dtmf-3"] == [raw["id"] for raw in raws]
    assert "dtmf-3" == outgoing.id


def test_no_keys_are_one_message_everywhere():
    """Without a single key there is still a message, which the bot refuses."""
    for version in ("2.0.0", "2.2.0"):
        (raw,) = decoded(ready(version).send(Dtmf(buttons=())))
        assert {"buttons": []} == raw["data"]


# -- requests ----------------------------------------------------------------------------


def requested():
    protocol, answers = ready(), []
    return protocol, protocol.request("time", {"zone": None}, answers.append), answers


def test_request_is_a_client_message():
    """A request goes out as client-message, with its name and its data."""
    _, outgoing, _ = requested()
    (raw,) = decoded(outgoing)
    assert ("client-message", {"t": "time", "d": {"zone": None}}) == (raw["type"], raw["data"])


@pytest.mark.parametrize(
    "answer", [ServerResponse(id="", t="time", d=5), ErrorResponse(error="no")]
)
def test_answer_goes_to_its_request_once(answer):
    """An answer, good or bad, is handed over once, and is an event as well."""
    protocol, outgoing, answers = requested()
    answer = replace(answer, id=outgoing.id)
    assert [answer] == tell(protocol, answer, at=3.5)
    assert [answer] == answers
    assert 3.5 == answers[0].at
    assert [answer] == tell(protocol, answer)
    assert [answer] == answers


def test_answers_find_their_requests_in_any_order():
    """Answers are matched by id alone."""
    protocol, first, second = ready(), [], []
    ids = [protocol.request("t", None, on.append).id for on in (first, second)]
    tell(protocol, ServerResponse(id=ids[1], t="t", d=2))
    tell(protocol, ServerResponse(id=ids[0], t="t", d=1))
    assert (1, 2) == (first[0].d, second[0].d)


@pytest.mark.parametrize(
    "answer",
    [
        ServerResponse(id="client-message-99", t="time"),
        ServerResponse(id="", t="time"),
        ErrorResponse(id="send-text-3", error="no"),
    ],
    ids=repr,
)
def test_answer_to_nobody_is_an_event(answer):
    """An answer that no request waits for is an event and nothing else."""
    protocol, _, answers = requested()
    assert [answer] == tell(protocol, answer)
    assert [] == answers


def test_forgotten_request_is_not_answered():
    """After nobody waits any more, the answer is an event only. Forgetting twice does no harm."""
    protocol, outgoing, answers = requested()
    protocol.forget_request(answers.append)
    protocol.forget_request(answers.append)
    answer = ServerResponse(id=outgoing.id, t="time")
    assert [answer] == tell(protocol, answer)
    assert [] == answers


def test_request_that_can_not_be_sent_waits_for_nothing():
    """A request with data that JSON can't carry is not in the table."""
    protocol, answers = ready(), []
    with pytest.raises(ValueError, match="JSON can't carry this"):
        protocol.request("t", float("nan"), answers.append)
    tell(protocol, ServerResponse(id="client-message-2", t="t"))
    assert [] == answers


def test_error_of_a_request_is_no_complaint_about_the_version():
    """Only an error-response to hello says something about versions."""
    protocol, outgoing, _ = requested()
    tell(protocol, ErrorResponse(id=outgoing.id, error="no"))
    assert protocol.versions.problem is None


# -- function calls ----------------------------------------------------------------------

IN_PROGRESS = LlmFunctionCallInProgress(tool_call_id="c1", function_name="f", arguments={"x": 1})


@pytest.mark.parametrize(
    "event",
    [IN_PROGRESS, LlmFunctionCall(function_name="f", tool_call_id="c1", args={"x": 1})],
    ids=["new", "deprecated"],
)
def test_function_call_is_open_until_it_is_answered(event):
    """A call with its name waits for a result; sending one closes it."""
    protocol = ready()
    assert [event] == tell(protocol, event)
    assert {"c1": CALL} == protocol.calls
    outgoing = protocol.function_result(protocol.calls["c1"], {"y": None})
    expected = {
        "function_name": "f",
        "tool_call_id": "c1",
        "arguments": {"x": 1},
        "result": {"y": None},
    }
    assert [expected] == [raw["data"] for raw in decoded(outgoing)]
    assert {} == protocol.calls


def test_result_may_be_a_string():
    """A result is an object or a string."""
    (raw,) = decoded(ready().function_result(CALL, "done"))
    assert "done" == raw["data"]["result"]


@pytest.mark.parametrize(
    ("result", "error"), [(None, TypeError), ([1], TypeError), ("\ud800", ValueError)]
)
def test_result_that_can_not_be_sent_leaves_the_call_open(result, error):
    """After a result that is none, another one can still be sent."""
    protocol = ready()
    tell(protocol, IN_PROGRESS)
    with pytest.raises(error):
        protocol.function_result(protocol.calls["c1"], result)
    assert {"c1": CALL} == protocol.calls


def test_result_of_a_closed_call_is_still_sent():
    """Whether a late result counts is the bot's decision."""
    assert "llm-function-call-result-2" == ready().function_result(CALL, "late").id


def test_function_call_without_arguments_has_none():
    """Where the bot gives a name and no arguments, they are empty."""
    protocol = ready()
    tell(protocol, LlmFunctionCallInProgress(tool_call_id="c1", function_name="f"))
    assert {} == protocol.calls["c1"].arguments


@pytest.mark.parametrize(
    "event",
    [
        LlmFunctionCallInProgress(tool_call_id="c1"),
        LlmFunctionCallInProgress(tool_call_id="c1", arguments={"x": 1}),
        LlmFunctionCallStarted(function_name="f"),
        LlmFunctionCallStarted(),
    ],
    ids=repr,
)
def test_function_call_without_name_or_id_is_not_open(event):
    """Nobody can answer a call without its name, or before it has an id."""
    protocol = ready()
    assert [event] == tell(protocol, event)
    assert {} == protocol.calls


def test_function_call_that_comes_twice_is_open_once():
    """A bot may announce a call in the old way and the new; the first one counts."""
    protocol = ready()
    tell(protocol, IN_PROGRESS)
    tell(protocol, LlmFunctionCall(function_name="g", tool_call_id="c1", args={}))
    assert {"c1": CALL} == protocol.calls


@pytest.mark.parametrize("cancelled", [False, True])
def test_function_call_that_stopped_is_closed(cancelled):
    """A call that is over needs no result; one that nobody heard of does no harm."""
    protocol = ready()
    tell(protocol, IN_PROGRESS)
    for id_ in ("c2", "c1", "c1"):
        stopped = LlmFunctionCallStopped(tool_call_id=id_, cancelled=cancelled)
        assert [stopped] == tell(protocol, stopped)
    assert {} == protocol.calls


def test_function_calls_are_open_beside_each_other():
    """Calls are told apart by their ids."""
    protocol = ready()
    tell(protocol, IN_PROGRESS)
    tell(protocol, LlmFunctionCallInProgress(tool_call_id="c2", function_name="f"))
    tell(protocol, LlmFunctionCallStopped(tool_call_id="c1", cancelled=True))
    assert ["c2"] == list(protocol.calls)


# -- interruptions -----------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.4.0", "0.3.0", "2.0.0", "2.2.0", "3.0.0", "2.2", ""])
def test_signal_is_an_event(version):
    """Bots of RTVI 1 have nothing else, nor have those that do not report their speaking."""
    protocol = ready(version)
    for _ in range(2):
        (event,) = protocol.receive_interruption(at=1.5)
        assert (BotInterrupted(), 1.5) == (event, event.at)


def test_signal_and_message_are_one_interruption():
    """Most bots say both, the signal first; each message belongs to one signal."""
    protocol = ready("2.2.0")
    protocol.receive_interruption(at=0)
    protocol.receive_interruption(at=1)
    assert [[], [], [BotInterrupted()]] == [tell(protocol, BotInterrupted()) for _ in range(3)]


def test_signal_of_an_earlier_turn_does_not_count():
    """A bot that has said no message until it speaks again will not say it any more."""
    protocol = ready("2.2.0")
    protocol.receive_interruption(at=0)
    tell(protocol, BotStartedSpeaking())
    assert [BotInterrupted()] == tell(protocol, BotInterrupted())


# -- everything else ---------------------------------------------------------------------


@pytest.mark.parametrize("cls", EVENT_CLASSES, ids=lambda cls: cls.__name__)
def test_every_event_is_passed_on(cls):
    """Whatever else it means, a message of the bot is an event, before it is ready and after."""
    for protocol in (ClientProtocol(ABOUT), greeted()[0], ready()):
        assert [sample(cls)] == tell(protocol, sample(cls))


def test_event_has_its_origin():
    """An event has the envelope and the time of its message."""
    (event,) = tell(ready(), BotStartedSpeaking(), at=4.5)
    assert ({"label": "rtvi-ai", "type": "bot-started-speaking"}, 4.5) == (event.raw, event.at)


def test_what_fits_nothing_is_an_event():
    """Unknown and malformed messages are events and end nothing."""
    protocol = ready()
    unknown, malformed = UnknownMessage(type="later"), MalformedMessage(reason="not a JSON object")
    assert [unknown] == tell(protocol, unknown)
    assert [malformed] == protocol.receive(b"[]", at=0)


def test_what_is_not_json_is_a_protocol_error():
    """A text that is not JSON is told by an error, and the conversation goes on."""
    protocol = ready()
    with pytest.raises(ProtocolError):
        protocol.receive("hello", at=0)
    assert [BotInterrupted()] == tell(protocol, BotInterrupted())


@given(events=st.lists(st.sampled_from(EVENT_CLASSES).flatmap(records), max_size=8))
def test_any_conversation_is_understood(events):
    """Whatever a bot says in whatever order, every message gives its event, and no error."""
    protocol, _ = greeted()
    for event in events:
        assert event == tell(protocol, event)[-1]
        assert protocol.send(DisconnectBot()).texts
