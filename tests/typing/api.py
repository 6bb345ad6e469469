"""How users use the package: never run, checked by mypy and pyright."""

import ssl
from collections.abc import Mapping
from typing import assert_type

import trio

import trio_pipecat as tp
from trio_pipecat.testing import (
    CaseResult,
    ClientReport,
    Conversation,
    Difference,
    ReplayBot,
    ServedBot,
    SimulatedBot,
    TransportMaker,
    check_client,
    check_transport,
    diff,
    load_recording,
    serve_bot,
)
from trio_pipecat.transports import Transport, memory_transport_pair


async def sessions() -> None:
    async with tp.open_session("sim:") as session:
        assert_type(session, tp.Session)
        ready = await session.wait_ready()
        assert_type(ready, tp.BotReady)
        assert_type(ready.version, str)
        assert_type(ready.capabilities, tp.Capabilities | None)
        assert_type(session.state, tp.State)
        assert_type(session.states.ready, trio.Event)
        assert_type(session.history, tuple[tuple[tp.State, float], ...])
        assert_type(session.end, tp.SessionEnd | None)
        assert_type(session.bot, tp.BotReady | None)
        assert_type(session.protocol, tp.ProtocolVersions)

    async with tp.open_session(
        endpoint="http://localhost/start",
        request_data={"body": {"a": 1}},
        headers={"Authorization": "Bearer x"},
        ssl_context=ssl.create_default_context(),
        token_in="path",
        ready_timeout=3,
        disconnect_on_bot_disconnect=False,
    ):
        pass

    client = tp.PipecatClient(ws_url="ws://localhost/ws", token="t")
    async with client.open_session(ready_timeout=1) as session:
        assert_type(session, tp.Session)
    started = await client.start_bot()
    assert_type(started, tp.StartedBot)
    assert_type(started.params.ws_url, str | None)
    tp.open_session(started)
    tp.open_session(tp.ConnectParams(transport="websocket", ws_url="ws://x"))
    assert_type(await tp.start_bot("http://x/start"), tp.StartedBot)

    tp.open_session("sim:", ready_timeout="soon")  # type: ignore[arg-type]
    tp.open_session("sim:", no_such_keyword=1)  # type: ignore[call-arg]
    tp.open_session("sim:", token_in="cookie")  # type: ignore[arg-type]


async def video(session: tp.Session, frame: tp.VideoFrame) -> None:
    async for frame in session.video:
        assert_type(frame, tp.VideoFrame)
        assert_type(frame.converted("rgb24"), tp.VideoFrame)
    with session.subscribe_video(max_frames=2) as stream:
        assert_type(stream, tp.VideoStream)
        assert_type(stream.dropped_frames, int)
    async with tp.open_camera(width=640, height=480) as camera:
        assert_type(camera, tp.Camera)
        assert_type(await session.stream_video(camera, screen=True), tp.VideoReport)
    await session.stream_video("film.mp4")
    await session.stream_video([frame])
    await session.send_video(frame)
    await session.stream_video([b""])  # type: ignore[list-item]
    frame.converted("bgr24")  # type: ignore[arg-type]
    await session.mute()
    assert_type(session.muted, bool)
    assert_type(await session.restart_connection(), tp.BotReady)


async def events(session: tp.Session) -> None:
    async for event in session:
        assert_type(event, tp.Event)
        match event:
            case tp.BotOutput(text=text, spoken_progress=progress):
                assert_type(text, str)
                assert_type(progress, tp.SpokenProgress | None)
            case tp.UserInput(msg_id=msg_id):
                assert_type(msg_id, str | None)
            case tp.StateChanged(state=state):
                assert_type(state, tp.State)
            case tp.Disconnected(end=end):
                assert_type(end, tp.SessionEnd)
                assert_type(end.error, BaseException | None)
            case _:
                pass

    with session.subscribe(tp.BotOutput) as outputs:
        assert_type(outputs, tp.EventStream[tp.BotOutput])
        assert_type(await outputs.receive(), tp.BotOutput)
        async for output in outputs:
            assert_type(output, tp.BotOutput)
    with session.subscribe(tp.BotOutput, tp.UserInput) as both:
        assert_type(await both.receive(), tp.BotOutput | tp.UserInput)
    with session.subscribe(tp.BotOutput, tp.UserInput, tp.Error) as three:
        assert_type(await three.receive(), tp.Event)
    with session.subscribe() as everything:
        assert_type(await everything.receive(), tp.Event)

    waited = await session.wait_event(tp.BotOutput, where=lambda event: event.text == "x")
    assert_type(waited, tp.BotOutput)
    await session.wait_event(tp.BotOutput, where=lambda event: event.nothing)  # type: ignore[attr-defined]

    async for chunk in session.audio:
        assert_type(chunk, tp.AudioChunk)
        assert_type(chunk.duration, float)


async def sending(session: tp.Session) -> None:
    assert_type(await session.send_text("x", audio_response=False), str)
    assert_type(await session.send_dtmf("1"), str)
    await session.send_audio(b"", sample_rate=16_000)
    await session.send_audio(b"")  # type: ignore[call-arg]
    await session.send_file(tp.File(format="image/png", source=tp.InlineSource(content=b"")))
    answer = await session.request("x", {"a": 1}, timeout=3)
    answer["anything"].goes  # noqa: B018  # JSON is untyped
    await session.disconnect()


async def get_weather(call: tp.FunctionCall) -> Mapping[str, str]:
    assert_type(call.function_name, str)
    return {}


async def wrong(call: int) -> int:
    return call


def functions(session: tp.Session) -> None:
    session.handle_function_call("a", get_weather)
    session.handle_function_call("a", None)
    session.handle_function_call("a", wrong)  # type: ignore[arg-type]
    handler: tp.FunctionHandler = get_weather
    session.handle_function_call("a", handler)


def errors(error: tp.PipecatError) -> None:
    match error:
        case tp.StartBotError(status=status, detail=detail):
            assert_type(status, int | None)
            assert_type(detail, str)
        case tp.ConnectionLostError(end=end):
            assert_type(end.code, int | None)
        case _:
            pass


def values() -> None:
    tp.BotOutput(text="x")
    tp.BotOutput()  # type: ignore[call-arg]
    tp.BotOutput(text=5)  # type: ignore[arg-type]
    output = tp.BotOutput(text="x")
    output.text = "y"  # type: ignore[misc]


async def bots() -> None:
    bot = SimulatedBot(greeting="Hello.", ready_delay=1)
    async with tp.open_session(transport=bot.connect) as session:
        assert_type(session, tp.Session)
    async with serve_bot(bot, token_auth=True) as served:
        assert_type(served, ServedBot[SimulatedBot])
        assert_type(served.start_url, str)
    assert_type(bot.conversations, list[Conversation])
    recording = load_recording("call.jsonl")
    async with serve_bot() as greeting, serve_bot(ReplayBot(recording)) as replayed:
        assert_type(greeting.bot, SimulatedBot)
        assert_type(replayed.bot, ReplayBot)
    assert_type(recording.messages("bot")[0].type, str)
    assert_type(diff(recording, recording), list[Difference])
    one, other = memory_transport_pair()
    link: Transport = one
    await link.send_message("x")
    await other.receive()


async def devices(session: tp.Session) -> None:
    assert_type(tp.list_devices(), list[tp.AudioDevice])
    async with (
        tp.open_speaker() as speaker,
        tp.open_microphone("desk", half_duplex_with=speaker) as microphone,
    ):
        assert_type(speaker, tp.Speaker)
        assert_type(microphone, tp.Microphone)
        async for chunk in microphone:
            assert_type(chunk, tp.AudioChunk)
            await speaker.play(chunk)
        await speaker.follow(session.audio)
        await speaker.follow(microphone)  # type: ignore[arg-type]
        assert_type(speaker.flush(), float)
    session.audio.on_flush.append(speaker.flush)
    with session.audio.tap(speaker.flush):  # type: ignore[arg-type]
        pass
    with session.audio.tap(lambda chunk: assert_type(chunk, tp.AudioChunk)) as nothing:
        assert_type(nothing, None)


async def kits(maker: TransportMaker) -> None:
    async def client(served: ServedBot[SimulatedBot]) -> None: ...

    report = await check_client(client, cases=["start-*"])
    assert_type(report, ClientReport)
    assert_type(report.failed, tuple[CaseResult, ...])
    assert_type(report["start-400"].passed, bool | None)
    await check_transport(maker, without=["stereo"])
    await check_transport(maker, without=["bananas"])  # type: ignore[list-item]
