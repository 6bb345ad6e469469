"""What pipecat-ai 1.14.0 sends, word for word but for line breaks, and the event that it is."""

from trio_pipecat._messages import (
    BotLlmMarker,
    BotLlmSearchResponse,
    BotOutput,
    BotReady,
    BotStartedSpeaking,
    Capabilities,
    CharacterUsage,
    Error,
    ErrorResponse,
    FirstAnswerTiming,
    FirstAudioTiming,
    LlmFunctionCallInProgress,
    LlmFunctionCallStarted,
    LlmFunctionCallStopped,
    Metrics,
    SearchOrigin,
    SearchResult,
    ServerMessage,
    ServerResponse,
    SpokenProgress,
    SttUsage,
    Timing,
    TokenUsage,
    UiCommand,
    UiJobGroup,
    UserInput,
    UserTranscription,
)

SERVER_MESSAGES = [
    (
        """{"label": "rtvi-ai", "type": "bot-ready", "id": "client-ready-1", "data": {
            "version": "2.2.0", "about": {"library": "pipecat-ai", "library_version": "1.14.0"},
            "capabilities": {"audio_in": true, "video_in": false}}}""",
        BotReady(
            id="client-ready-1",
            version="2.2.0",
            about={"library": "pipecat-ai", "library_version": "1.14.0"},
            capabilities=Capabilities(audio_in=True, video_in=False),
        ),
    ),
    (
        r"""{"label": "rtvi-ai", "type": "error", "data": {"error": "\u00fc", "fatal": false}}""",
        Error(error="ü", fatal=False),
    ),
    (
        """{"label": "rtvi-ai", "type": "error-response", "id": "dtmf-4", "data": {
            "error": "Unsupported type x"}}""",
        ErrorResponse(id="dtmf-4", error="Unsupported type x"),
    ),
    (
        """{"label": "rtvi-ai", "type": "server-response", "id": "client-message-2", "data": {
            "t": "time", "d": {"now": null}}}""",
        ServerResponse(id="client-message-2", t="time", d={"now": None}),
    ),
    (
        """{"label": "rtvi-ai", "type": "server-response", "id": "client-message-2", "data": {
            "t": "time"}}""",
        ServerResponse(id="client-message-2", t="time"),
    ),
    ("""{"label": "rtvi-ai", "type": "server-message"}""", ServerMessage()),
    (
        """{"label": "rtvi-ai", "type": "server-message", "data": {"a": null}}""",
        ServerMessage(data={"a": None}),
    ),
    ("""{"label": "rtvi-ai", "type": "bot-started-speaking"}""", BotStartedSpeaking()),
    (
        """{"label": "rtvi-ai", "type": "bot-output", "data": {"text": "Hello there.",
            "output_type": "sentence", "text_type": "sentence", "aggregated_by": "sentence",
            "segment_id": 3, "will_be_spoken": true, "spoken_status": "in-progress",
            "spoken_progress": {"accumulated_text": "Hello", "remaining_text": " there."}}}""",
        BotOutput(
            text="Hello there.",
            output_type="sentence",
            segment_id=3,
            will_be_spoken=True,
            spoken_status="in-progress",
            spoken_progress=SpokenProgress(accumulated_text="Hello", remaining_text=" there."),
        ),
    ),
    (
        """{"label": "rtvi-ai", "type": "user-transcription", "data": {"text": "hi", "user_id": "",
            "timestamp": "2026-11-22T10:00:00+00:00", "final": true}}""",
        UserTranscription(text="hi", user_id="", timestamp="2026-11-22T10:00:00+00:00", final=True),
    ),
    (
        """{"label": "rtvi-ai", "type": "user-input", "data": {"text": "hi", "input_type": "chat",
            "timestamp": "2026-11-22T10:00:00+00:00", "final": true, "msg_id": "send-text-3"}}""",
        UserInput(
            text="hi",
            input_type="chat",
            timestamp="2026-11-22T10:00:00+00:00",
            final=True,
            msg_id="send-text-3",
        ),
    ),
    (
        """{"label": "rtvi-ai", "type": "llm-function-call-started", "data": {}}""",
        LlmFunctionCallStarted(),
    ),
    (
        """{"label": "rtvi-ai", "type": "llm-function-call-in-progress", "data": {
            "tool_call_id": "c1", "function_name": "f", "arguments": {"x": null}}}""",
        LlmFunctionCallInProgress(tool_call_id="c1", function_name="f", arguments={"x": None}),
    ),
    (
        """{"label": "rtvi-ai", "type": "llm-function-call-stopped", "data": {
            "tool_call_id": "c1", "cancelled": false}}""",
        LlmFunctionCallStopped(tool_call_id="c1", cancelled=False),
    ),
    (
        r"""{"label": "rtvi-ai", "type": "bot-llm-marker", "data": {"text": "", "raw": "hi",
            "markers": ["\u2713", "\u25cb"]}}""",
        BotLlmMarker(text="", raw_text="hi", markers=("✓", "○")),
    ),
    (
        """{"label": "rtvi-ai", "type": "bot-llm-search-response", "data": {"search_result": "s",
            "origins": [{"site_uri": "https://a.example",
            "results": [{"text": "t", "confidence": [0.5]}]}]}}""",
        BotLlmSearchResponse(
            search_result="s",
            origins=(
                SearchOrigin(
                    site_uri="https://a.example",
                    results=(SearchResult(text="t", confidence=(0.5,)),),
                ),
            ),
        ),
    ),
    (
        """{"label": "rtvi-ai", "type": "ui-command", "data": {"command": "toast", "payload": {
            "title": "x", "subtitle": null, "description": null}}}""",
        UiCommand(command="toast", payload={"title": "x", "subtitle": None, "description": None}),
    ),
    (
        """{"label": "rtvi-ai", "type": "ui-job-group", "data": {"kind": "group_started",
            "job_id": "j", "workers": ["w"], "label": "l", "cancellable": true, "at": 5}}""",
        UiJobGroup(
            kind="group_started", job_id="j", workers=("w",), label="l", cancellable=True, at_ms=5
        ),
    ),
    (
        """{"label": "rtvi-ai", "type": "ui-job-group", "data": {"kind": "job_update",
            "job_id": "j", "worker_name": "w", "data": {"p": 1}, "at": 6}}""",
        UiJobGroup(kind="job_update", job_id="j", worker_name="w", data={"p": 1}, at_ms=6),
    ),
    (
        """{"label": "rtvi-ai", "type": "ui-job-group", "data": {"kind": "job_completed",
            "job_id": "j", "worker_name": "w", "status": "completed", "at": 7}}""",
        UiJobGroup(kind="job_completed", job_id="j", worker_name="w", status="completed", at_ms=7),
    ),
    (
        """{"label": "rtvi-ai", "type": "ui-job-group", "data": {"kind": "group_completed",
            "job_id": "j", "at": 8}}""",
        UiJobGroup(kind="group_completed", job_id="j", at_ms=8),
    ),
    ("""{"label": "rtvi-ai", "type": "metrics", "data": {}}""", Metrics()),
    (
        """{"label": "rtvi-ai", "type": "metrics", "data": {
            "ttfb": [{"processor": "LLM#0", "model": "gpt", "value": 0.25}],
            "ttfa": [{"processor": "TTS#0", "ttfa": 0.3, "ttfb": 0.2, "leading_silence": 0.1}],
            "ttfat": [{"processor": "LLM#0", "ttfat": 0.3, "ttfb": 0.2, "thinking_time": 0.1}],
            "tokens": [{"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
                "cache_read_input_tokens": 0}],
            "stt_usage": [{"processor": "STT#0", "value": {"audio_seconds": 1.5}}],
            "characters": [{"processor": "TTS#0", "value": 12}]}}""",
        Metrics(
            ttfb=(Timing(processor="LLM#0", model="gpt", value=0.25),),
            ttfa=(FirstAudioTiming(processor="TTS#0", ttfa=0.3, ttfb=0.2, leading_silence=0.1),),
            ttfat=(FirstAnswerTiming(processor="LLM#0", ttfat=0.3, ttfb=0.2, thinking_time=0.1),),
            tokens=(
                TokenUsage(
                    prompt_tokens=1,
                    completion_tokens=2,
                    total_tokens=3,
                    cache_read_input_tokens=0,
                ),
            ),
            stt_usage=(SttUsage(processor="STT#0", audio_seconds=1.5),),
            characters=(CharacterUsage(processor="TTS#0", value=12),),
        ),
    ),
]
