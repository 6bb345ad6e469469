"""pipecat's evaluations pass on a simulated bot that does what they expect, and fail on another."""

from pathlib import Path
from typing import Any

import pytest
import trio
from subprocesses import pipecat_python, told_by

from trio_pipecat.testing import Conversation, SimulatedBot, serve_bot

_SCENARIO = """
name: simulated
scenarios:
  - name: echo
    user: {modality: text}
    bot: {modality: text}
    context:
      - {role: user, content: "a conversation before this one"}
    turns:
      - user: "hello world"
        expect:
          - {event: llm_response, text_contains: "hello world", within_ms: PATIENCE}
      - user: "and again"
        expect:
          - {event: response, text_contains: "and again", within_ms: PATIENCE}
"""


@pytest.fixture
def python() -> str:
    """The interpreter that has pipecat-ai."""
    return pipecat_python()


async def evaluate(
    python: str, folder: Path, bot: SimulatedBot, *, patience: float
) -> tuple[Any, Conversation]:
    """Return the result of the scenario, and the conversation that the bot had."""
    scenario = folder / "scenario.yaml"
    scenario.write_text(_SCENARIO.replace("PATIENCE", str(round(patience * 1000))))
    async with serve_bot(bot) as served:
        (result,) = await told_by(python, "pipecat_evaluation.py", str(scenario), served.json_url)
        (conversation,) = bot.conversations
        with trio.fail_after(10):
            while conversation.end is None:
                await trio.sleep(0.02)
    return result, conversation


async def test_an_evaluation_that_passes(python: str, tmp_path: Path) -> None:
    """The scenario is played, and its own messages are none of the bot's business."""
    result, conversation = await evaluate(python, tmp_path, SimulatedBot(), patience=60)
    assert {"passed": True, "failures": []} == result
    assert ["client-ready", "send-text", "send-text", "disconnect-bot"] == [
        command.TYPE for _, command in conversation.received
    ]
    assert conversation.end is not None
    assert 1000 == conversation.end.code


async def test_an_evaluation_that_fails(python: str, tmp_path: Path) -> None:
    """Because the bot says something else."""
    bot = SimulatedBot(reply=lambda text: "I did not catch that.")
    result, _ = await evaluate(python, tmp_path, bot, patience=1)
    assert result["passed"] is False
    assert any("hello world" in failure for failure in result["failures"])
