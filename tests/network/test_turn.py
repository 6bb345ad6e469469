"""A session over WebRTC that needs others to find its way: TURN and STUN servers, good and bad."""

import json

import pytest
from hosts import SUBNET, Faults
from turn_server import CREDENTIAL, USERNAME, turn_server

#: Nobody has it: what goes there is lost.
NOBODY = f"{SUBNET}.200"
#: What it takes to be ready when nothing is waited for, in seconds, and far more.
SOON = 4


@pytest.fixture(scope="module")
def bot(net):
    """Have a bot on the first machine."""
    with net.hosts[0].running("talkers.py", "bot") as running:
        running.url = f"http://{net.hosts[0].address}:{running.hear('serving')['port']}/api/offer"
        yield running


@pytest.fixture(scope="module")
def turn(net):
    """Have a TURN server on the third."""
    with turn_server(net.hosts[2]) as address:
        yield address


@pytest.fixture
def no_way(net):
    """Have a firewall between client and bot that lets the offer pass and no sound."""
    net.faults = Faults(no_udp=frozenset(host.address for host in net.hosts[:2]))


def client(net, bot, **keywords):
    """Have a client on the second machine."""
    return net.hosts[1].running("talkers.py", "client", bot.url, json.dumps(keywords))


def relay(address, credential=CREDENTIAL, transport="udp"):
    """Return a TURN server as it is told to clients."""
    url = f"turn:{address}?transport={transport}"
    return {"urls": [url], "username": USERNAME, "credential": credential}


def test_without_one(net, bot, no_way) -> None:
    """There is no way, which is said in the time that was given."""
    with client(net, bot, connect_timeout=2) as caller:
        over = caller.hear("over")
    assert ("startup_failed", "TransportStartError", "ice") == (
        over["reason"],
        over["error"],
        over["stage"],
    )
    assert "behind a NAT it takes ice_servers" in over["text"]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_through_a_relay(net, bot, turn, no_way, transport) -> None:
    """Where there is no other way: messages, large ones, and sound."""
    with client(net, bot, ice_servers=[relay(turn, transport=transport)]) as caller:
        print(f"\nby {transport} ready in {caller.hear('ready')['seconds']:.2f} s")
        caller.tell("ask", 8)
        assert [*range(8)] == caller.hear("ask")["answers"]
        caller.tell("carry")
        assert caller.hear("carry")["same"]
        caller.tell("sing")
        heard = caller.hear("sing")
        caller.tell("leave")
        over = caller.hear("over")
    assert 440 == pytest.approx(heard["hertz"], rel=0.02)
    assert 2.8 < heard["seconds"] < 3.2
    assert ("client", None) == (over["reason"], over["error"])
    assert "client" == bot.hear("conversation")["first"]


def test_a_relay_that_refuses(net, bot, turn, no_way) -> None:
    """Wrong credentials, and no other way: the error says so, without them, in bounded time."""
    wrong = relay(turn, "wr0ng-credential")
    with client(net, bot, ice_servers=[wrong], connect_timeout=3) as caller:
        over = caller.hear("over")
    print(f"\nafter {over['seconds']:.2f} s: {over['text']}")
    assert ("startup_failed", "TransportStartError", "ice") == (
        over["reason"],
        over["error"],
        over["stage"],
    )
    assert "the TURN server gave no relay (wrong credentials, or not there)" in over["text"]
    assert "wr0ng" not in over["text"]
    assert over["seconds"] < 3 + SOON
    assert_nothing_left(over)


def test_a_relay_that_refuses_and_is_not_needed(net, bot, turn) -> None:
    """Wrong credentials hinder nobody who has another way."""
    with client(net, bot, ice_servers=[relay(turn, "wrong")]) as caller:
        assert caller.hear("ready")["seconds"] < SOON
        caller.tell("leave")
        over = caller.hear("over")
    assert ("client", None) == (over["reason"], over["error"])
    assert_nothing_left(over)


@pytest.mark.parametrize(
    "server",
    [
        {"urls": f"stun:{NOBODY}:3478"},
        {"urls": f"stun:{SUBNET}.3:9"},
        relay(f"{NOBODY}:3478"),
        relay(f"{NOBODY}:3478", transport="tcp"),
    ],
    ids=["stun", "stun, refused", "turn", "turn over tcp"],
)
def test_a_server_that_is_dead(net, bot, server) -> None:
    """It costs `gather_timeout`, and not the five seconds that are usual."""
    with client(net, bot, ice_servers=[server], gather_timeout=0.3) as caller:
        seconds = caller.hear("ready")["seconds"]
        caller.tell("leave")
        over = caller.hear("over")
    print(f"\nready in {seconds:.2f} s")
    assert seconds < SOON
    assert_nothing_left(over)


def test_a_dead_server_does_not_keep_from_one_that_works(net, bot, turn, no_way) -> None:
    """A STUN server that is dead, and a relay that is needed."""
    servers = [{"urls": f"stun:{NOBODY}:3478"}, relay(turn)]
    with client(net, bot, ice_servers=servers, gather_timeout=1) as caller:
        print(f"\nready in {caller.hear('ready')['seconds']:.2f} s")
        caller.tell("leave")
        over = caller.hear("over")
    assert ("client", None) == (over["reason"], over["error"])


def assert_nothing_left(over) -> None:
    """No thread but the main one, and the one that reads what the client is told."""
    assert [] == [name for name in over["left"] if name.startswith("trio_pipecat")]
