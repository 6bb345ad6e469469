"""The sound of the worst turns, as it goes from one machine to another."""

import tempfile
from pathlib import Path

import pytest

from trio_pipecat.reports import LoadResult, TurnRecord
from trio_pipecat.tools.load._plan import LoadPlan
from trio_pipecat.tools.load._shape import profile
from trio_pipecat.tools.load._sounds import put_sounds, recording_here, take_sounds

PLAN = LoadPlan(target="sim:", shape=profile("constant", 1, 1))


def turn(number: int, audio: Path | None = None) -> TurnRecord:
    """Return a turn, with a file or without."""
    path = None if audio is None else str(audio)
    return TurnRecord(caller=0, call=1, turn=number, at=1.0, v2v=float(number), audio=path)


def test_what_was_recorded_there_is_here(tmp_path: Path) -> None:
    """In the order of the turns; a file that is gone is none."""
    (tmp_path / "a.wav").write_bytes(b"sound")
    there = LoadResult(worst=[turn(1), turn(2, tmp_path / "a.wav"), turn(3, tmp_path / "gone")])
    sounds = take_sounds(there)
    assert [None, b"sound", None] == sounds
    here = LoadResult.from_json(there.as_json())
    (tmp_path / "here").mkdir()
    put_sounds(here, sounds, str(tmp_path / "here"))
    one, two, three = (turn.audio for turn in here.worst)
    assert one is three is None
    assert two is not None
    assert (b"sound", tmp_path / "here") == (Path(two).read_bytes(), Path(two).parent)
    assert [] == here.notes


def test_two_parts_may_have_recorded_the_same_name(tmp_path: Path) -> None:
    """Neither overwrites the other."""
    parts = [LoadResult(worst=[turn(1)]) for _ in range(2)]
    for number, part in enumerate(parts):
        put_sounds(part, [bytes([number])], str(tmp_path))
    paths = [part.worst[0].audio for part in parts]
    assert [b"\0", b"\1"] == [Path(path).read_bytes() for path in paths if path is not None]


def test_where_there_is_no_place_there_is_no_sound(tmp_path: Path) -> None:
    """If one was wanted that is told, and paths of another machine are not."""
    for folder, notes in ((None, 0), (str(tmp_path / "absent"), 1)):
        part = LoadResult(worst=[turn(1, tmp_path / "theirs.wav"), turn(2, tmp_path / "b.wav")])
        put_sounds(part, [b"a", b"b"], folder)
        assert notes == len(part.notes)
        assert [None, None] == [turn.audio for turn in part.worst]


def test_a_folder_goes_with_the_block() -> None:
    """Whatever is in it."""
    with recording_here(PLAN) as plan:
        assert plan.audio_folder is not None
        (Path(plan.audio_folder) / "x.wav").write_bytes(b"x")
    assert not Path(plan.audio_folder).exists()


def test_who_can_make_none_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is not lost for that."""

    def fail(**_: object) -> None:
        raise OSError("no place")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", fail)
    with recording_here(PLAN) as plan:
        assert plan is PLAN
