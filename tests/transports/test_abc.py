"""What every transport is: how its end reads, and what one that adds nothing does."""

import ssl

import attrs
import pytest
import trio
from trio.testing import assert_checkpoints

from trio_pipecat import UnsupportedFeatureError
from trio_pipecat.transports import Interruption, LinkEnd, LinkOptions, Transport, Undecodable


class Silent(Transport):
    """A transport that has no more than it must, and does nothing."""

    max_message_size = 1

    @property
    def end(self):
        return None

    async def receive(self):
        await trio.sleep_forever()

    async def send_message(self, text):
        await trio.lowlevel.checkpoint()

    async def send_audio(self, chunk):
        await trio.lowlevel.checkpoint()

    async def aclose(self, code=1000, text=""):
        await trio.lowlevel.checkpoint()

    async def abort(self, detail):
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("code", "orderly"),
    [
        (1000, True),
        (1001, True),
        (1005, True),
        (1002, False),
        (1006, False),
        (1008, False),
        (1009, False),
        (1011, False),
        (1012, False),
        (1013, False),
        (4003, False),
    ],
)
def test_orderly_ends(code, orderly):
    """An end is orderly if the code is that of a goodbye."""
    assert orderly == LinkEnd(code=code, first="bot").orderly


def test_end_is_a_value():
    """Ends with the same facts are equal, and can't be changed."""
    end = LinkEnd(code=1000, first="client")
    assert LinkEnd(code=1000, text="", first="client", detail="") == end
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        end.code = 1001


def test_transport_is_abstract():
    """A transport has to say how it ends, receives, sends, closes and breaks off."""
    with pytest.raises(TypeError) as caught:
        Transport()
    for name in ("abort", "aclose", "end", "receive", "send_audio", "send_message"):
        assert name in str(caught.value)


def test_transports_speak_rtvi_unless_they_say_otherwise():
    """A transport is taken to carry RTVI messages."""
    assert Silent().speaks_rtvi is True


async def test_interrupting_is_an_extra():
    """A wire without a signal for it can't interrupt the bot, and says so, after a checkpoint."""
    with assert_checkpoints(), pytest.raises(UnsupportedFeatureError) as caught:
        await Silent().send_interruption()
    assert "interrupting the bot" == caught.value.feature


def test_undecodable_shows_the_reason_not_the_bytes():
    """What could not be decoded is kept, but not shown."""
    item = Undecodable("no frame", raw=b"secret")
    assert b"secret" == item.raw
    assert "secret" not in repr(item)
    assert "no frame" in repr(item)


def test_interruptions_are_equal():
    """The interruption signal has nothing in it that could differ."""
    assert Interruption() == Interruption()


def test_options_hide_the_values_of_headers():
    """The options name the headers that go with the upgrade, and show none of their values."""
    options = LinkOptions(
        headers={"X-Secret": "hush"}, ssl_context=ssl.create_default_context(), on_stage=print
    )
    assert "hush" not in repr(options)
    assert "['X-Secret']" in repr(options)
    assert "ssl_context" not in repr(options)
    assert "on_stage" not in repr(options)


def test_options_have_defaults():
    """Nothing has to be said, and nobody has to listen to the stages."""
    options = LinkOptions()
    options.on_stage("connect", "")
    assert {} == options.headers
    assert "header" == options.token_in
    assert options.allow_insecure_token is False
    assert (None, None, 3) == (options.ping_interval, options.ping_timeout, options.grace)
    assert (2**20, 2**24) == (options.max_message_size, options.max_receive_size)
    assert (24_000, 2) == (options.audio_out_sample_rate, options.gather_timeout)
    assert options.trickle_ice is False
