"""Measures of conversations: turns, latencies, percentiles; what a load run found, and reports."""

from ._latencies import Latencies as Latencies
from ._load import LoadResult as LoadResult
from ._load import Moment as Moment
from ._load import Part as Part
from ._load import TurnRecord as TurnRecord
from ._load_csv import load_as_csv as load_as_csv
from ._load_csv import turns_as_csv as turns_as_csv
from ._load_html import load_as_html as load_as_html
from ._load_junit import load_as_junit as load_as_junit
from ._thresholds import Threshold as Threshold
from ._thresholds import ThresholdError as ThresholdError
from ._thresholds import Verdict as Verdict
from ._thresholds import parse_threshold as parse_threshold
from ._turn import Turn as Turn
from ._turns import TurnLog as TurnLog

__all__ = [
    "Latencies",
    "LoadResult",
    "Moment",
    "Part",
    "Threshold",
    "ThresholdError",
    "Turn",
    "TurnLog",
    "TurnRecord",
    "Verdict",
    "load_as_csv",
    "load_as_html",
    "load_as_junit",
    "parse_threshold",
    "turns_as_csv",
]
