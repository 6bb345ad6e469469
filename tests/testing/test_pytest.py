"""The plugin for pytest, run as its users run it."""

import pytest

from trio_pipecat.testing import load_recording

pytest_plugins = ["pytester"]

CONFTEST = 'pytest_plugins = ["trio_pipecat.testing.pytest"]\n'
INI = """
[pytest]
trio_mode = true
filterwarnings =
    error
    ignore::pytest.PytestCacheWarning
addopts = -p no:anyio
"""


def _run(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess("-q")


def test_a_session_in_no_time(pytester: pytest.Pytester) -> None:
    """A bot, a session that is ready, and an hour that takes none."""
    _run(
        pytester,
        """
        import pytest, trio
        from trio_pipecat import BotOutput

        @pytest.fixture
        def session_options():
            return {"event_buffer": 99}

        async def test_it(virtual_time, bot, session):
            assert "ready" == session.state
            await trio.sleep(3600)
            await session.send_text("hello")
            assert "You said: hello" == (await session.wait_event(BotOutput)).text
            assert "hello" == bot.conversations[0].received[1][1].content
        """,
    ).assert_outcomes(passed=1)


def test_a_bot_of_ones_own(pytester: pytest.Pytester) -> None:
    """That leaves: the test is not cancelled, and sees how."""
    _run(
        pytester,
        """
        import pytest, trio
        from trio_pipecat.testing import SimulatedBot, leave_after

        @pytest.fixture
        def bot():
            return SimulatedBot([leave_after(600)])

        async def test_it(virtual_time, session):
            async for _ in session:
                pass
            assert "bot" == session.end.reason
            assert trio.current_time() > 600
        """,
    ).assert_outcomes(passed=1)


def test_a_test_that_fails_has_a_recording(pytester: pytest.Pytester) -> None:
    """The report says where; it can be loaded. Tests that pass leave nothing."""
    done = _run(
        pytester,
        """
        import pytest
        from trio_pipecat import BotStoppedSpeaking

        @pytest.mark.parametrize("text", ["tea", "gin"])
        async def test_it(virtual_time, session, text):
            await session.send_text(text)
            await session.wait_event(BotStoppedSpeaking)
            assert "tea" == text
        """,
    )
    done.assert_outcomes(passed=1, failed=1)
    folder = pytester.path / ".pytest_cache" / "d" / "trio_pipecat"
    (kept,) = folder.glob("*/*.jsonl")
    assert "gin" in kept.parent.name
    done.stdout.fnmatch_lines(["*the session was recorded*", f"*{kept}", "to hear it again: *"])
    recording = load_recording(kept)
    assert "send-text" in [message.type for message in recording.messages("client")]
    assert kept.with_suffix(".wav").exists()


def test_a_session_that_does_not_begin_is_an_error_of_the_test(pytester: pytest.Pytester) -> None:
    """With its own name, and a recording."""
    done = _run(
        pytester,
        """
        import pytest
        from trio_pipecat.testing import SimulatedBot, never_ready

        @pytest.fixture
        def bot():
            return SimulatedBot([never_ready()])

        async def test_it(virtual_time, session):
            pass
        """,
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*ReadyTimeoutError*", "*the session was recorded*"])


def test_what_can_not_be_kept_is_no_internal_error(pytester: pytest.Pytester) -> None:
    """A name that is too long, a cache that can't be made; and no file, no word of one."""
    (pytester.path / ".pytest_cache").write_text("in the way")
    done = _run(
        pytester,
        """
        import pytest

        @pytest.fixture
        def session_options(request):
            return {"bogus": 1} if "bogus" in request.node.name else {}

        @pytest.mark.parametrize("x", ["a/b", "a-b", "bogus", "long" * 100])
        async def test_it(virtual_time, session, x):
            assert False
        """,
    )
    done.assert_outcomes(failed=4)
    assert 3 == done.stdout.str().count("the session was recorded")


def test_names_that_look_alike_are_kept_apart(pytester: pytest.Pytester) -> None:
    """And a long one is cut."""
    _run(
        pytester,
        """
        import pytest

        @pytest.mark.parametrize("x", ["a/b", "a-b", "long" * 100])
        async def test_it(virtual_time, session, x):
            assert False
        """,
    ).assert_outcomes(failed=3)
    folder = pytester.path / ".pytest_cache" / "d" / "trio_pipecat"
    assert 3 == len([*folder.glob("*/session.jsonl")])
