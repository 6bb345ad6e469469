"""What came of checking a client."""

from collections.abc import Iterator
from typing import Final

import attrs

_MARKS: Final = {True: "passed", False: "FAILED", None: "–"}


@attrs.frozen(kw_only=True)
class CaseResult:
    """What came of one case.

    Attributes:
        name: the case.
        passed: None if the client did not do what the case is about.
        detail: what is wrong; or what the client raised, which is its own affair.
        seconds: how long it took.
    """

    name: str
    passed: bool | None
    detail: str
    seconds: float


@attrs.frozen
class ClientReport:
    """What came of `check_client`. As a string it is a table."""

    results: tuple[CaseResult, ...]

    def __str__(self) -> str:
        width = max((len(result.name) for result in self.results), default=0)
        lines = [
            f"{result.name:{width}}  {_MARKS[result.passed]:6}  {result.seconds:6.2f} s"
            f"  {result.detail}".rstrip()
            for result in self.results
        ]
        counts = [
            f"{len([r for r in self.results if r.passed is passed])} {what}"
            for passed, what in ((True, "passed"), (False, "failed"), (None, "not applicable"))
        ]
        return "\n".join([*lines, ", ".join(counts)])

    def __iter__(self) -> Iterator[CaseResult]:
        return iter(self.results)

    def __getitem__(self, name: str) -> CaseResult:
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(name)

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """The cases that the client failed."""
        return tuple(result for result in self.results if result.passed is False)
