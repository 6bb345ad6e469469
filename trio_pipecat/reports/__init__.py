"""Measures of conversations: turns, latencies, percentiles."""

from ._latencies import Latencies as Latencies
from ._turn import Turn as Turn
from ._turns import TurnLog as TurnLog

__all__ = ["Latencies", "Turn", "TurnLog"]
