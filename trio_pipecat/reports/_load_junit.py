"""A load run as JUnit's XML, which build servers read: each threshold is a test case."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree as ET

import attrs

from ._load import LoadResult
from ._thresholds import Verdict
from ._words import printable, tell_clock, tell_share

_SUITE: Final = "trio-pipecat load"


def load_as_junit(result: LoadResult, verdicts: Sequence[Verdict]) -> str:
    """Return a run as a document of JUnit's.

    Each threshold is a test case, which fails if the threshold was not kept. So does that of the
    bot, if it died; and that of the run is an error if what it measured is not to be trusted.
    """
    cases = list(_cases(result, verdicts))
    totals = {
        "tests": str(len(cases)),
        "failures": str(len([case for case in cases if case.outcome == "failure"])),
        "errors": str(len([case for case in cases if case.outcome == "error"])),
        "skipped": "0",
        "time": _seconds(result.seconds),
    }
    root = ET.Element("testsuites", {"name": _SUITE, **totals})
    began = datetime.fromtimestamp(result.began, UTC)
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "name": printable(f"{_SUITE}: {result.target}"),
            **totals,
            "timestamp": f"{began:%Y-%m-%dT%H:%M:%S}",
            "hostname": printable(result.parts[0].host if result.parts else ""),
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(result):
        ET.SubElement(properties, "property", name=name, value=printable(value))
    for case in cases:
        suite.append(case.as_element())
    ET.indent(root)
    document = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{document}\n'


@attrs.frozen(kw_only=True)
class _Case:
    name: str
    seconds: float = 0.0
    #: ``failure``, ``error``, or neither; and what is told then.
    outcome: str | None = None
    message: str = ""
    detail: str = ""

    def as_element(self) -> ET.Element:
        case = ET.Element(
            "testcase",
            classname="trio_pipecat.load",
            name=printable(self.name),
            time=_seconds(self.seconds),
        )
        if self.outcome is not None:
            told = ET.SubElement(
                case, self.outcome, message=printable(self.message), type=self.outcome
            )
            told.text = printable(self.detail)
        return case


def _cases(result: LoadResult, verdicts: Sequence[Verdict]) -> Iterator[_Case]:
    problems = result.problems
    yield _Case(
        name="the run is valid",
        seconds=result.seconds,
        outcome="error" if problems else None,
        message="NOT VALID: what was measured is not to be trusted",
        detail="\n".join(problems),
    )
    died = result.bot_died
    told = "" if died is None else f"it died after {tell_clock(died)}: no call succeeded since"
    causes = "\n".join(f"{count} × {cause}" for cause, count in result.errors.most_common())
    yield _Case(
        name="the bot lives",
        outcome=None if died is None else "failure",
        message=told,
        detail=causes or told,
    )
    for verdict in verdicts:
        threshold = verdict.threshold
        value = threshold.tell(verdict.value)
        yield _Case(
            name=threshold.text,
            outcome="failure" if verdict.failed else None,
            message=f"it was {value}",
            detail=f"The run has failed if {threshold.text}, and it was {value}.",
        )


def _properties(result: LoadResult) -> Iterator[tuple[str, str]]:
    yield "target", result.target
    yield "interrupted", str(result.interrupted).lower()
    for name in ("calls", "failed", "turns", "answered"):
        yield name, str(result.counts[name])
    yield "error_rate", tell_share(result.error_rate)


def _seconds(value: float) -> str:
    return f"{value:.3f}"
