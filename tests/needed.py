"""What tests need of the machine, and what to type where it is missing."""

import os
import shutil
from typing import NoReturn

import pytest


def program(name: str, line: str) -> str:
    """Return where a program is. Where there is none, the test that needs it is over."""
    return shutil.which(name) or missing(name, line)


def missing(what: str, line: str) -> NoReturn:
    """Skip the test, saying what to type; or fail it, where skipping would be overlooked."""
    told = f"needs {what}; type: {line}"
    if os.environ.get("TRIO_PIPECAT_MUST_RUN") == "1":
        pytest.fail(told, pytrace=False)
    pytest.skip(told)
