"""The commands ``load`` and ``merge``."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from ... import PipecatError
from ...reports import LoadResult, parse_threshold
from .._options import bot_options, keywords
from .._run import guard, run_stoppable
from .._times import parse_duration
from ._shape import (
    PROFILES,
    Profile,
    Shape,
    parse_rate,
    parse_span,
    parse_stages,
    profile,
)

F = TypeVar("F", bound=Callable[..., Any])

_DURATION: Final = "60s"
_CALLERS: Final = 10
#: Parts of a run begin within so many seconds.
_TOGETHER: Final = 1.0
_MOST_PORT: Final = 65_535


def _read(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return what reads an option's value, or values, with `parse`: a callback."""

    def read(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is None:
            return None
        try:
            return tuple(map(parse, value)) if isinstance(value, tuple) else parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from error

    return read


def _place(text: str) -> tuple[str, int]:
    """Return the host and the port of ``9464``, ``0.0.0.0:9464`` or ``[::]:9464``."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"expected [HOST:]PORT, such as 9464 or 0.0.0.0:9464, not {text!r}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def _duration(name: str, *, default: str | None, help_: str) -> Callable[[F], F]:
    """Return an option that is a time."""
    return click.option(
        name,
        metavar="TIME",
        callback=_read(parse_duration),
        default=default,
        show_default=default is not None,
        help=help_,
    )


def report_options(command: F) -> F:
    """Add the conditions, and where reports go."""
    file = click.Path(dir_okay=False, path_type=Path, allow_dash=True)
    for decorate in reversed(
        (
            click.option(
                "--fail",
                "thresholds",
                metavar="CONDITION",
                callback=_read(parse_threshold),
                multiple=True,
                help="The run has failed if this is so: 'v2v.p95 > 1.5s', 'ready.p99 > 5s', "
                "'error_rate > 1%'. May be repeated.",
            ),
            click.option(
                "--report", metavar="FILE.html", type=file, help="Write a page with charts."
            ),
            click.option(
                "--json", "json_file", metavar="FILE", type=file, help="Write everything as JSON."
            ),
            click.option(
                "--csv", metavar="FILE", type=file, help="Write what happened over time as CSV."
            ),
            click.option(
                "--turns", metavar="FILE", type=file, help="Write every measured turn as CSV."
            ),
            click.option(
                "--junit", metavar="FILE", type=file, help="Write the conditions as JUnit XML."
            ),
        )
    ):
        command = decorate(command)
    return command


@click.command(
    epilog="""\
\b
Exit codes: 0 no condition is fulfilled, 1 one is, or the bot died, 2 wrong usage,
3 not valid: this tool did not keep up, so its figures say nothing, 130 interrupted."""
)
@bot_options
@click.option(
    "--callers", type=click.IntRange(min=1), help=f"Callers at the peak.  [default: {_CALLERS}]"
)
@click.option(
    "--arrivals",
    metavar="RATE",
    callback=_read(parse_rate),
    help="Instead of --callers, the open model: so many come in a second, whether or not the bot "
    "keeps up: 2/s, 30/m.",
)
@_duration(
    "--duration",
    default=None,
    help_=f"How long it takes: 90s, 5m, 1h.  [default: {_DURATION}]",
)
@click.option(
    "--profile",
    "profile_name",
    type=click.Choice(PROFILES),
    default="constant",
    show_default=True,
    help="How the number goes over time.",
)
@click.option(
    "--stages",
    metavar="STAGES",
    help="Instead of a profile: '10/30s, 50/2m, 0/30s' goes to 10 in 30 s, to 50 in 2 min, …",
)
@click.option("--text", "texts", multiple=True, help="What callers say. May be repeated.")
@click.option(
    "--wav",
    "wavs",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Or play this, in real time. May be repeated.",
)
@click.option(
    "--caller",
    metavar="FILE.py:NAME",
    help="Or do what 'async def NAME(session)' does.",
)
@click.option(
    "--think",
    callback=_read(parse_span),
    default="0s",
    metavar="TIME[..TIME]",
    help="How long callers think before they speak, and between two calls: 1s..3s.",
)
@_duration(
    "--turn-timeout",
    default="30s",
    help_="How long the bot may take to begin an answer.",
)
@_duration(
    "--turn-pause",
    default="0.5s",
    help_="So much quiet, and an answer is over.",
)
@_duration(
    "--greeting",
    default="1s",
    help_="How long callers listen first whether the bot speaks.",
)
@_duration(
    "--warm-up",
    default="0s",
    help_="Do not measure the first part.",
)
@_duration(
    "--cool-down",
    default="0s",
    help_="Do not measure the last part.",
)
@_duration(
    "--wind-down",
    default="5s",
    help_="How long callers have at the end to finish what they are at.",
)
@click.option(
    "--max-callers",
    type=click.IntRange(min=1),
    default=1_000,
    show_default=True,
    help="With --arrivals: no more than that at once.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of all randomness.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Share the callers among so many processes.",
)
@click.option(
    "--cluster", metavar="ADDRESS", help="Or among the workers of a Dask cluster: tcp://host:8786."
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Hold only the Ith part of N, counted from 0; see 'trio-pipecat merge'.",
)
@click.option(
    "--begin-at", type=float, metavar="EPOCH", help="When to begin, in seconds of the epoch."
)
@click.option(
    "--find-capacity",
    is_flag=True,
    help="Take more and more callers until a condition is fulfilled, then look in between. Each "
    "number is tried for --duration.",
)
@click.option(
    "--first",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="With --find-capacity: the first number that is tried. --callers is the last.",
)
@click.option(
    "--prometheus",
    metavar="[HOST:]PORT",
    callback=_read(_place),
    help="Serve what is measured, for Prometheus to scrape, while the run goes on.",
)
@click.option(
    "--otel",
    is_flag=True,
    help="Make OpenTelemetry spans of calls and turns: with 'opentelemetry-instrument "
    "trio-pipecat load …'.",
)
@report_options
def load(target: str, **options: Any) -> None:
    """Have many callers talk to a bot, and tell how it bore that.

    Callers call, talk, listen, hang up, and call again, as --callers, --profile or --arrivals say.
    Each turn is measured from the sound: how long a caller waited. What this tool itself was late
    with is measured too: a run in which it did not keep up is not valid.

    \b
    Conditions for --fail:
      METRIC.STATISTIC  ready v2v t2v first_event dead_air …, p50 p95 p99.9 min mean max count
      error_rate answer_rate calls failed turns answered interruptions dropped
      > >= < <= == !=, and a number with its unit: ms s m h %
    """
    from ._command import load as command

    order = _order(target, options, _given(click.get_current_context()))
    sys.exit(run_stoppable(lambda stop: command(order, stop)))


@click.command(
    epilog="""\
\b
Exit codes: as those of 'trio-pipecat load'."""
)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@report_options
def merge(files: tuple[str, ...], **options: Any) -> None:
    """Put the parts of a load run together: what 'load --shard I/N --json' has written.

    Histograms are added up, not percentiles; conditions are judged once, for the whole.
    """
    from .._console import open_console
    from ._command import Order, finish
    from ._plan import LoadPlan

    reports = _files(options)
    whole = _merged([Path(file) for file in files], with_turns=reports.turns is not None)
    whole.settle()
    plan = LoadPlan(target=whole.target, shape=Shape(0, ()))
    order = Order(plan=plan, thresholds=options["thresholds"], files=reports)
    sys.exit(guard(lambda: finish(order, whole, open_console(stderr=reports.takes_stdout))))


def _merged(paths: list[Path], *, with_turns: bool) -> LoadResult:
    """Return the whole of the parts, with those that are missing named."""
    results = []
    for path in paths:
        try:
            results.append(LoadResult.from_json(json.loads(path.read_text(encoding="utf-8"))))
        except ValueError as error:
            raise click.UsageError(f"{path}: {error}") from error
        if not results[-1].plan.pop("keeps_turns", False) and with_turns:
            raise click.UsageError(f"{path} has no turns: give --turns to 'load' as well")
    whole = results[0]
    for path, other in zip(paths[1:], results[1:], strict=True):
        is_same = (other.plan, other.step, other.target) == (whole.plan, whole.step, whole.target)
        if not is_same or abs(other.began - whole.began) > _TOGETHER:
            raise click.UsageError(f"{path} is of another run than {paths[0]}")
        whole.merge(other)
    indices = [part.index for part in whole.parts]
    if len(set(indices)) != len(indices):
        raise click.UsageError("the same part is there twice")
    of = max((part.of for part in whole.parts), default=0)
    whole.lost += [
        f"part {index} of {of} is missing" for index in range(of) if index not in indices
    ]
    return whole


def _files(options: dict[str, Any]) -> Any:
    from ._command import Files

    files = Files(
        report=options["report"],
        json=options["json_file"],
        csv=options["csv"],
        turns=options["turns"],
        junit=options["junit"],
    )
    try:
        files.check()
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror or error}") from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return files


def _given(context: click.Context) -> frozenset[str]:
    """Return which options were not left at their defaults."""
    default = click.core.ParameterSource.DEFAULT
    return frozenset(
        name for name in context.params if context.get_parameter_source(name) is not default
    )


def _order(target: str, options: dict[str, Any], given: frozenset[str]) -> Any:
    """Return what the options mean, once everything is known to be there."""
    from ._capacity import at_constant
    from ._command import Order
    from ._plan import LoadPlan
    from ._spans import check_spans

    files = _files(options)
    names = (
        *("webrtc", "token", "token_in", "headers", "origin", "data"),
        *("base_url", "allow_insecure_token"),
    )
    bot = keywords(**{name: options[name] for name in names})
    shape = _shape(options)
    plan = LoadPlan(
        target=target,
        keywords=bot,
        shape=shape,
        model="open" if options["arrivals"] is not None else "closed",
        texts=options["texts"],
        wavs=options["wavs"],
        caller=options["caller"],
        keeps_turns=options["turns"] is not None,
        spans=options["otel"],
        **{
            name: options[name]
            for name in (
                *("think", "turn_timeout", "turn_pause", "greeting", "warm_up", "cool_down"),
                *("wind_down", "max_callers", "seed"),
            )
        },
    )
    _check_together(options, given)
    try:
        plan.check()
    except (ValueError, OSError) as error:
        if isinstance(error, PipecatError):
            raise
        raise click.UsageError(str(error)) from error
    if plan.spans and options["cluster"] is None:
        check_spans()
    capacity, thresholds = None, options["thresholds"]
    if options["find_capacity"]:
        capacity = (options["first"], options["callers"] or sys.maxsize)
        plan_of_first = at_constant(plan, capacity[0])
        if plan_of_first.window[0] >= plan_of_first.window[1]:
            raise click.UsageError("nothing is left to measure of a step: see --cool-down")
        # Who is refused has no latency that could be too long.
        if not any(t.quantity in ("error_rate", "failed") for t in thresholds):
            thresholds = (*thresholds, parse_threshold("error_rate > 1%"))
    return Order(
        plan=plan,
        thresholds=thresholds,
        files=files,
        processes=options["processes"],
        cluster=options["cluster"],
        capacity=capacity,
        shard=_shard(options["shard"]),
        begin_at=options["begin_at"],
        prometheus=options["prometheus"],
    )


def _shape(options: dict[str, Any]) -> Shape:
    if options["callers"] is not None and options["arrivals"] is not None:
        raise click.UsageError("either --callers or --arrivals")
    if options["stages"] is not None:
        for name in ("callers", "arrivals", "duration"):
            if options[name] is not None and name != "arrivals":
                raise click.UsageError(f"--stages says it all: not --{name} as well")
        try:
            shape = parse_stages(options["stages"])
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--stages") from error
        return shape if options["arrivals"] is None else shape.scaled(options["arrivals"])
    peak = options["arrivals"] if options["arrivals"] is not None else options["callers"]
    seconds = options["duration"]
    seconds = parse_duration(_DURATION) if seconds is None else seconds
    if seconds <= 0:
        raise click.BadParameter("nothing can be measured in no time", param_hint="--duration")
    peak = _CALLERS if peak is None else peak
    return profile(cast("Profile", options["profile_name"]), peak, seconds)


def _check_together(options: dict[str, Any], given: frozenset[str]) -> None:
    _refuse_what_does_nothing(options, given)
    ways = [name for name in ("cluster", "shard") if options[name] is not None]
    if options["processes"] > 1:
        ways.append("processes")
    if len(ways) > 1:
        raise click.UsageError(f"either --{ways[0]} or --{ways[1]}")
    if options["find_capacity"]:
        if options["arrivals"] is not None or options["stages"] is not None:
            raise click.UsageError("--find-capacity takes numbers of callers, which stay constant")
        if not options["thresholds"]:
            raise click.UsageError("--find-capacity needs at least one --fail to know its limit")
        if options["shard"] is not None:
            raise click.UsageError("--find-capacity needs all of the callers: not --shard")
        if options["callers"] is not None and options["first"] > options["callers"]:
            raise click.UsageError("--first is more than --callers, the last number to be tried")
    if options["begin_at"] is not None and (
        options["find_capacity"] or options["cluster"] is not None or options["processes"] > 1
    ):
        raise click.UsageError("--begin-at is for a run of one process, such as a --shard")


def _refuse_what_does_nothing(options: dict[str, Any], given: frozenset[str]) -> None:
    """Refuse an option that would change nothing beside the others."""
    function = "a --caller does that in its own way"
    is_open = options["arrivals"] is not None
    for does_nothing, names, why in (
        (options["stages"] is not None, ("profile_name",), "--stages says it all"),
        (options["find_capacity"], ("profile_name",), "--find-capacity has constant numbers"),
        (not options["find_capacity"], ("first",), "it is for --find-capacity"),
        (not is_open, ("max_callers",), "it is for --arrivals"),
        (options["caller"] is not None, ("turn_pause", "greeting"), function),
        (options["caller"] is not None and is_open, ("think",), function),
    ):
        for name in names:
            if does_nothing and name in given:
                option = f"--{name.removesuffix('_name').replace('_', '-')}"
                raise click.UsageError(f"{option} does nothing here: {why}")


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    index, slash, of = text.partition("/")
    try:
        part = int(index), int(of)
    except ValueError:
        part = (0, 0)
    if not slash or not 0 <= part[0] < part[1]:
        raise click.BadParameter(f"expected I/N, such as 0/4, not {text!r}", param_hint="--shard")
    return part
