"""The invariant: whatever a bot sends, either an event or `ProtocolError`, never any other error.

The same holds for the bot's side, with commands. And what was read can be written (unless JSON has
no way to say it), and is then read as the same again.

    python fuzz/fuzz_codec.py --runs 100000
    python fuzz/fuzz_codec.py --seconds 60 --seed 7
"""

import contextlib

from fuzz_loop import fuzz, instrumented

with instrumented():
    from trio_pipecat._codec import (
        MalformedCommand,
        decode_command,
        decode_event,
        encode_command,
        encode_event,
    )
    from trio_pipecat._errors import ProtocolError
    from trio_pipecat._messages import AboutClient, BotMessage, Command, Event, MalformedMessage
    from trio_pipecat._protocol import ClientProtocol

SEEDS = [
    (
        b'{"label":"rtvi-ai","type":"bot-ready","id":"client-ready-1","data":{"version":"2.2.0",'
        b'"about":{"library":"x"},"capabilities":{"audio_in":true}}}'
    ),
    b'{"label":"rtvi-ai","type":"error","data":{"error":"x","message":"y","fatal":false}}',
    b'{"label":"rtvi-ai","type":"error-response","id":"client-ready-1","data":{"error":"x"}}',
    b'{"label":"rtvi-ai","type":"server-response","id":"1","data":{"t":"x","d":{"a":null}}}',
    b'{"label":"rtvi-ai","type":"server-message","data":[1,2.5,"x",null,true]}',
    b'{"label":"rtvi-ai","type":"bot-interrupted"}',
    (
        b'{"label":"rtvi-ai","type":"bot-output","data":{"text":"x","output_type":"sentence",'
        b'"segment_id":3,"spoken_progress":{"accumulated_text":"","remaining_text":"x"}}}'
    ),
    (
        b'{"label":"rtvi-ai","type":"metrics","data":{"ttfb":[{"processor":"x","value":0.5}],'
        b'"stt_usage":[{"processor":"x","value":{"audio_seconds":1.5}}],"turn":[{}]}}'
    ),
    (
        b'{"label":"rtvi-ai","type":"bot-llm-search-response","data":{"origins":[{"results":'
        b'[{"text":"x","confidence":[0.5]}]}]}}'
    ),
    (
        b'{"label":"rtvi-ai","type":"llm-function-call-in-progress","data":{"tool_call_id":"c",'
        b'"function_name":"f","arguments":{}}}'
    ),
    (
        b'{"label":"rtvi-ai","type":"llm-function-call-stopped","data":{"tool_call_id":"c",'
        b'"cancelled":false,"result":{}}}'
    ),
    (
        b'{"label":"rtvi-ai","type":"bot-tts-audio","data":{"audio":"AP8=","sample_rate":8000,'
        b'"num_channels":1}}'
    ),
    (
        b'{"label":"rtvi-ai","type":"ui-job-group","data":{"kind":"group_started","job_id":"j",'
        b'"workers":["w"],"at":5}}'
    ),
    (
        b'{"label":"rtvi-ai","type":"client-ready","id":"1","data":{"version":"2.2.0","about":'
        b'{"library":"x"}}}'
    ),
    (
        b'{"label":"rtvi-ai","type":"send-file","id":"1","data":{"content":"x","file":{"format":'
        b'"x","source":{"type":"bytes","bytes":"AP8="}},"options":{"custom_options":{}}}}'
    ),
    b'{"label":"rtvi-ai","type":"dtmf","id":"1","data":{"buttons":["1","#"]}}',
    (
        b'{"label":"rtvi-ai","type":"ui-snapshot","id":"1","data":{"tree":{"captured_at":1,"root":'
        b'{"ref":"e","role":"x","children":[{"ref":"e","role":"x","busy":1}]}}}}'
    ),
    b'{"label":"rtvi-ai","type":"later","data":{}}',
]
TOKENS = [
    b"null",
    b"true",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"9" * 5000,
    b'"%s.0.0"' % (b"9" * 5000),
    b'"\\ud800"',
    b'"\\u0000"',
    b'""',
    b"[]",
    b"{}",
    b"[" * 100_000,
    b'{"a":' * 5000,
    b'"data":',
    b'"id":',
    b'"type":',
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xed\xa0\x80",
    b",",
    b":",
    b'"',
    b"\\",
]


def check(data: bytes) -> None:
    """Read `data` as everything that it could be."""
    for text in (data, data.decode("utf-8", "replace")):
        try:
            event = decode_event(text, at=0)
        except ProtocolError:
            continue
        check_event(event)
        check_command(decode_command(text))
        check_conversation(text)


def check_event(event: BotMessage) -> None:
    if isinstance(event, MalformedMessage):
        assert event.reason
        return
    with contextlib.suppress(ValueError):
        assert event == decode_event(encode_event(event), at=0), event


def check_command(received: tuple[str, Command] | MalformedCommand | None) -> None:
    if isinstance(received, MalformedCommand):
        assert received.reason
    elif received is not None:
        id_, command = received
        with contextlib.suppress(ValueError):
            assert (id_, command) == decode_command(encode_command(command, id_)), command


def check_conversation(text: str | bytes) -> None:
    protocol = ClientProtocol(AboutClient(library="fuzz"))
    protocol.hello()
    events = protocol.receive(text, at=0)
    assert events
    assert all(isinstance(event, Event) for event in events)


def main(arguments: list[str] | None = None) -> None:
    fuzz(check, SEEDS, TOKENS, arguments)


if __name__ == "__main__":
    main()
