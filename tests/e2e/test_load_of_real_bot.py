"""Many callers talk to a real bot at once."""

import pytest
from real_bot import RealBot

from trio_pipecat.tools.load._plan import LoadPlan
from trio_pipecat.tools.load._shape import profile
from trio_pipecat.tools.load._shard import run_shard

pytestmark = [pytest.mark.e2e, pytest.mark.alone]


async def test_callers_talk_to_a_real_bot(real_bot: RealBot) -> None:
    """Each turn is answered and timed from the sound, beside the server's own figures."""
    plan = LoadPlan(
        target=real_bot.ws_url(),
        shape=profile("constant", 4, 10),
        texts=("Hello!", "And again?"),
        greeting=0.2,
        warm_up=1.0,
        cool_down=3.0,
    )
    result = await run_shard(plan)
    assert {} == result.errors
    assert {"client"} == set(result.endings)
    assert result.counts["answered"] == result.counts["turns"] >= 4
    assert len(result.metrics["t2v"]) == result.counts["turns"]
    assert 0 < result.metrics["first_event"].percentile(50) <= result.metrics["t2v"].percentile(50)
    assert result.metrics["t2v"].max < 3
    assert any(name.startswith("server.") for name in result.metrics)
    assert 4 == max(moment.ready for moment in result.timeline)
    assert 0 == result.counts["interruptions"]


async def test_callers_start_their_bots(real_bot: RealBot) -> None:
    """At the start endpoint, whose answer is timed too."""
    plan = LoadPlan(
        target=real_bot.start_url,
        shape=profile("constant", 2, 6),
        texts=("Hello!",),
        greeting=0.0,
        cool_down=2.0,
    )
    result = await run_shard(plan)
    assert {} == result.errors
    assert len(result.metrics["start"]) >= 2
    assert result.metrics["start"].max < result.metrics["ready"].max
    assert result.counts["answered"] == result.counts["turns"] >= 2
