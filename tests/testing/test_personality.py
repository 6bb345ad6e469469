"""What a simulated bot is like unless it is told otherwise."""

from trio_pipecat.testing._personality import Personality


def test_it_repeats_the_user() -> None:
    """So that a test sees its own words come back."""
    assert "You said: hello" == Personality().reply("hello")


def test_it_reports_a_result_with_the_functions_name() -> None:
    """A text as it is, anything else as JSON."""
    report = Personality().report
    assert "The current weather: sunny" == report("get_current_weather", "sunny")
    assert 'The weather: {"celsius": 20}' == report("get_weather", {"celsius": 20})


def test_it_does_not_keep_anybody_waiting() -> None:
    """No greeting, no delays: a test pays for what it asks for."""
    bot = Personality()
    assert (None, 0, 0) == (bot.greeting, bot.ready_delay, bot.think_seconds)
