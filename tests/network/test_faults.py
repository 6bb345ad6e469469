"""A session over WebRTC on a network with faults: what holds all the same."""

import signal
import time

import pytest
from hosts import Faults

#: The grace of a goodbye, in seconds.
GRACE = 3
#: What is sent of the tone, in seconds, and what may be missing of it where nothing is lost: the
#: ends, where it is not loud.
TONE_SECONDS, SLACK = 3, 0.15
#: A link that is silent is given up after five seconds.
MISSED = (3, 8)

SHAPES = {
    "sound": Faults(),
    "loss of 1 %": Faults(loss=0.01),
    "loss of 5 %": Faults(loss=0.05),
    "loss of 10 %": Faults(loss=0.1),
    "jitter": Faults(delay=0.03, jitter=0.02),
    "delay": Faults(delay=0.2),
}


@pytest.fixture(scope="module")
def bot(net):
    """Have a bot on one of the machines."""
    with net.hosts[0].running("talkers.py", "bot") as running:
        running.url = url(net, running)
        yield running


@pytest.fixture
def bot_alone(net):
    """Have a bot for this test alone."""
    with net.hosts[0].running("talkers.py", "bot") as running:
        running.url = url(net, running)
        yield running


def url(net, running):
    """Return where it takes offers."""
    return f"http://{net.hosts[0].address}:{running.hear('serving')['port']}/api/offer"


@pytest.mark.parametrize(
    ("shape", "by"),
    [
        *((shape, "us") for shape in SHAPES),
        *((shape, "netem") for shape in ("loss of 5 %", "jitter", "delay")),
    ],
)
def test_a_bad_network(net, bot, shape, by) -> None:
    """It takes longer, and everything is there in the end; of the sound what was not lost."""
    faults = SHAPES[shape]
    if by == "us":
        net.faults = faults
    else:
        net.shape(faults)
    lost = net.lost
    with net.hosts[1].running("talkers.py", "client", bot.url) as client:
        ready = client.hear("ready")["seconds"]
        client.tell("ask", 40)
        assert [*range(40)] == client.hear("ask")["answers"]
        asked = time.monotonic()
        client.tell("carry")
        assert client.hear("carry")["same"]
        carried = time.monotonic() - asked
        client.tell("sing")
        heard = client.hear("sing")
        client.tell("leave")
        left = client.hear("left")["seconds"]
        over = client.hear("over")
    seen = bot.hear("conversation")
    lost_both_ways = 1 - (1 - faults.loss) ** 2
    print(
        f"\n{shape} by {by}: ready in {ready:.2f} s, 100 KB both ways in {carried:.2f} s, heard"
        f" {heard['seconds']:.2f} s of {TONE_SECONDS} at {heard['hertz']:.1f} Hz, left in"
        f" {left:.2f} s; {net.lost - lost} packets lost"
    )
    assert 440 == pytest.approx(heard["hertz"], rel=0.02)
    assert heard["seconds"] >= TONE_SECONDS * (1 - 1.5 * lost_both_ways) - SLACK
    assert heard["seconds"] <= TONE_SECONDS + SLACK
    assert left < GRACE + 1
    assert ("client", "client", None) == (over["reason"], over["first"], over["error"])
    assert ("client", 1000) == (seen["first"], seen["code"])


def test_a_partition_that_heals(net, bot) -> None:
    """The session lives, and all that was said meanwhile is there: in order, and once."""
    with net.hosts[1].running("talkers.py", "client", bot.url) as client:
        client.hear("ready")
        net.faults = Faults(is_cut=True)
        cut = time.monotonic()
        for begin in (0, 10, 20):
            client.tell("note", begin, begin + 10)
            client.hear("note")
        time.sleep(max(cut + 3 - time.monotonic(), 0))
        net.mend()
        client.tell("ask", 1)
        assert [0] == client.hear("ask")["answers"]
        print(f"\nanswered {time.monotonic() - cut - 3:.2f} s after it has healed")
        client.tell("leave")
        assert "client" == client.hear("over")["reason"]
    assert [*range(30), 0] == bot.hear("conversation")["heard"]


def test_a_partition_for_good(net, bot) -> None:
    """Both sides miss the other in seconds."""
    with net.hosts[1].running("talkers.py", "client", bot.url) as client:
        client.hear("ready")
        client.tell("stay")
        cut = time.monotonic()
        net.faults = Faults(is_cut=True)
        over, seen = client.hear("over"), bot.hear("conversation")
    assert_missed(over, cut)
    assert ("network", 1006) == (seen["first"], seen["code"])
    print(f"; the bot missed the client after {seen['at'] - cut:.2f} s")
    assert MISSED[0] < seen["at"] - cut < MISSED[1]


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
def test_a_bot_that_is_gone(net, bot_alone, fate) -> None:
    """Dead or frozen: it is missed in seconds."""
    with net.hosts[1].running("talkers.py", "client", bot_alone.url) as client:
        client.hear("ready")
        client.tell("stay")
        gone = time.monotonic()
        bot_alone.signal(fate)
        over = client.hear("over")
    assert_missed(over, gone)


def assert_missed(over, since) -> None:
    """It was lost, and that was noticed in time."""
    seconds = over["at"] - since
    print(f"\nmissed after {seconds:.2f} s: {over['text']}", end="")
    assert ("connection_lost", "network") == (over["reason"], over["first"])
    assert "ConnectionLostError" == over["error"]
    assert MISSED[0] < seconds < MISSED[1]


def test_a_client_that_was_stopped(net, bot) -> None:
    """It goes on where it was, and a bot that wants to be pinged was pinged before it is told."""
    with net.hosts[1].running("talkers.py", "client", bot.url) as client:
        client.hear("ready")
        client.tell("note", 0, 10)
        client.hear("note")
        client.signal(signal.SIGSTOP)
        # The first thing it finds when it goes on.
        client.tell("note", 10, 20)
        time.sleep(4)
        client.signal(signal.SIGCONT)
        client.hear("note")
        client.tell("leave")
        over = client.hear("over")
    ages = [bot.hear("message")["ping_age"] for _ in range(20)]
    print(f"\nthe last ping was at most {max(ages):.2f} s old when a message came")
    assert max(ages) < 3
    assert [*range(20)] == bot.hear("conversation")["heard"]
    assert ("client", None) == (over["reason"], over["error"])
