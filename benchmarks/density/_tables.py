"""What is printed: what was to be reached, and was it; below it the details."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import attrs

from . import _clients
from ._clients import SESSION, WIRE, Client
from ._measures import FLOOR, RAW_TCP, Measures, Round

#: A figure of one round, None where there is none.
Figure = Callable[[Round], float | None]


@attrs.frozen
class Target:
    """A bound: at least (``≥``) or at most (``≤``) this much, in times or in a unit."""

    sign: str
    bound: float
    unit: str = "×"

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g} {self.unit}"

    def reached(self, figure: float) -> bool:
        """Is it?"""
        return figure >= self.bound if self.sign == "≥" else figure <= self.bound


@attrs.frozen
class Outcome:
    """One figure: the median over the rounds, how far they spread, and what it was to be."""

    target: Target
    figures: Sequence[float]
    #: There are none because the sessions were too many to hold.
    is_over: bool = False
    #: They rest on a capacity that was not confirmed.
    is_unsure: bool = False

    @property
    def verdict(self) -> str:
        """Reached or missed, or neither."""
        if not self.figures:
            return "missed" if self.is_over else "not measured"
        is_reached = self.target.reached(statistics.median(self.figures))
        return ("reached" if is_reached else "missed") + ", unsure" * self.is_unsure

    @property
    def measured(self) -> str:
        """The figure and its spread."""
        if not self.figures:
            return "over" if self.is_over else "–"
        return spread(self.figures, self.target.unit)


@attrs.frozen
class Row:
    """One line of what is to be reached."""

    name: str
    wire: Outcome | None
    session: Outcome | None


def spread(figures: Sequence[float], unit: str = "") -> str:
    """Return the median, and from where to where the figures go."""
    text = f"{_short(statistics.median(figures))} {unit}".rstrip()
    if len(figures) > 1:
        text += f" ({_short(min(figures))}–{_short(max(figures))})"
    return text


def _short(figure: float) -> str:
    if figure == round(figure) or figure >= 100:
        return f"{figure:.0f}"
    return f"{figure:.2f}" if abs(figure) < 10 else f"{figure:.1f}"


def _each(rounds: Iterable[Round], figure: Figure) -> list[float]:
    return [one for one in map(figure, rounds) if one is not None]


def _ratios(rounds: Iterable[Round], ours: Figure, others: Figure) -> list[float]:
    """Return the ratio in each round that has both."""
    pairs = [(ours(round_), others(round_)) for round_ in rounds]
    return [one / other for one, other in pairs if one is not None and other]


def _capacity(client: Client) -> Figure:
    def figure(round_: Round) -> float | None:
        found = round_.capacity.get(client.key)
        return None if found is None else found.sessions

    return figure


def _cpu(key: str, level: int) -> Figure:
    return lambda round_: round_.cpu.get(key, {}).get(level)


def _opening(key: str, name: str) -> Figure:
    return lambda round_: round_.openings.get(key, {}).get(name)


def reach(measures: Measures, imports: Sequence[float]) -> list[Row]:
    """Return what is to be reached, and what was."""
    rounds = measures.rounds
    per_core = "sessions per core against"
    rows = [
        _capacity_row(rounds, f"{per_core} {name}", against, bounds)
        for name, against, bounds in (
            ("websockets asyncio, a timer each", _clients.WEBSOCKETS_SESSION, (3, 2.3)),
            ("websockets asyncio, the same shared ticker", _clients.WEBSOCKETS_TICKER, (2.2, 1.6)),
            ("picows on uvloop, the same shared ticker", _clients.PICOWS_TICKER, (1.05, None)),
            ("pipecat's client", _clients.PIPECAT, (17, 12)),
        )
    ]
    for level in measures.plan.levels:
        if level < 200:
            continue
        outcomes = [
            Outcome(
                Target("≤", bound),
                _ratios(rounds, _cpu(client.key, level), _cpu(FLOOR, level)),
                is_over=any(_is_over(round_, client, level) for round_ in rounds),
            )
            for client, bound in ((WIRE, 3.5), (SESSION, 5))
        ]
        rows.append(Row(f"CPU per session and second against the C floor, N = {level}", *outcomes))
    memory = [
        Outcome(Target("≤", bound, "KiB"), _each(rounds, lambda r, key=key: r.memory.get(key)))
        for key, bound in ((WIRE.key, 8), (SESSION.key, 24))
    ]
    rows.append(Row("memory per session", *memory))
    for name, words in (("alone", "one after another"), ("at_once", "all at once")):
        ratios = _ratios(rounds, _opening(WIRE.key, name), _opening(RAW_TCP.key, name))
        outcome = Outcome(Target("≤", 1.3), ratios)
        rows.append(Row(f"CPU of a handshake against raw TCP, {words}", outcome, None))
    ready = _ratios(rounds, _opening(SESSION.key, "ready"), _opening(SESSION.key, "bare_ready"))
    row = Row("time to ready against a bare handshake", None, Outcome(Target("≤", 1.2), ready))
    rows.append(row)
    name = "`import trio_pipecat` against importing its dependencies"
    rows.append(Row(name, None, Outcome(Target("≤", 1.25), imports)))
    return rows


def _is_over(round_: Round, client: Client, level: int) -> bool:
    levels = round_.cpu.get(client.key, {})
    return level in levels and levels[level] is None


def _is_confirmed(rounds: Iterable[Round], client: Client) -> bool:
    found = [round_.capacity.get(client.key) for round_ in rounds]
    return all(one is not None and one.confirmed for one in found)


def _capacity_row(
    rounds: Sequence[Round], name: str, against: Client, bounds: tuple[float, float | None]
) -> Row:
    outcomes = [
        bound
        and Outcome(
            Target("≥", bound),
            _ratios(rounds, _capacity(client), _capacity(against)),
            is_unsure=not (_is_confirmed(rounds, client) and _is_confirmed(rounds, against)),
        )
        for client, bound in zip((WIRE, SESSION), bounds, strict=True)
    ]
    return Row(name, outcomes[0] or None, outcomes[1] or None)


# -- as text --------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Return the lines of a table, its columns aligned."""
    body = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in body) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    yield line(body[0])
    yield f"|-{'-|-'.join('-' * width for width in widths)}-|"
    yield from map(line, body[1:])


def reach_table(rows: Iterable[Row]) -> Iterator[str]:
    """Return the lines of what was to be reached."""

    def cells(outcome: Outcome | None) -> list[str]:
        if outcome is None:
            return ["–", "–", "–"]
        return [outcome.measured, str(outcome.target), outcome.verdict]

    head = ("", "wire", "target", "", "whole session", "target", "")
    return _table(head, ([row.name, *cells(row.wire), *cells(row.session)] for row in rows))


#: What the floor and raw TCP are called, which are no clients of the list.
_OTHERS: Final = {FLOOR: ("C, epoll", "shared ticker"), RAW_TCP.key: (RAW_TCP.label, "–")}


def details(measures: Measures) -> Iterator[str]:
    """Return the lines of the tables below it."""
    rounds, clients = measures.rounds, measures.clients
    named = _OTHERS | {client.key: (client.label, client.pacing) for client in clients}

    def rows(columns: Sequence[Callable[[str], Figure]], missing: str) -> Iterator[list[str]]:
        for key, names in named.items():
            figures = [_each(rounds, column(key)) for column in columns]
            if any(figures):
                cells = [spread(one) if one else missing for one in figures]
                yield [*names, *cells]

    yield "\nSessions per core: 99 % of the frames at most 20 ms late, 99.5 % of them there."
    most = [
        [
            client.label,
            client.pacing,
            spread(_each(rounds, _capacity(client))),
            "yes" if _is_confirmed(rounds, client) else "no",
        ]
        for client in clients
    ]
    yield from _table(("", "pacing", "sessions", "confirmed"), most)
    yield "\nCPU per session and second, in µs, by how many sessions there are."
    levels = measures.plan.levels
    columns = [lambda key, level=level: _cpu(key, level) for level in levels]
    yield from _table(("", "pacing", *(f"N = {level}" for level in levels)), rows(columns, "over"))
    yield "\nMemory per session, in KiB."
    memory = [lambda key: lambda round_: round_.memory.get(key)]
    yield from _table(("", "pacing", "resident"), rows(memory, "–"))
    yield "\nCPU per message in bursts, its protobuf included, in µs."
    messages = [
        lambda key: lambda round_: round_.down.get(key),
        lambda key: lambda round_: round_.up.get(key),
    ]
    yield from _table(("", "pacing", "down", "up"), rows(messages, "–"))
    yield "\nCPU of opening and closing a connection, in ms."
    names = ("alone", "at_once", "closing")
    openings = [lambda key, name=name: _opening(key, name) for name in names]
    head = ("", "pacing", "one after another", "all at once", "closing")
    yield from _table(head, rows(openings, "–"))
    yield "\nTime until a session is ready, in ms; its CPU, in ms."
    ready = [
        lambda key, name=name: _opening(key, name)
        for name in ("ready", "bare_ready", "cpu_to_ready")
    ]
    yield from _table(("", "pacing", "ours", "bare", "CPU"), rows(ready, "–"))
