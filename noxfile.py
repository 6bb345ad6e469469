"""What is run on this project, and how: ``nox`` does it all, ``nox -l`` lists it."""

import ctypes.util
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.sessions = ["lint", "types", "tests", "e2e", "interop", "devices", "network"]
nox.options.error_on_external_run = True
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
PLACES = ["trio_pipecat", "tests", "examples", "benchmarks", "fuzz", "docs", "noxfile.py"]
#: Leaves the tests out that need what is not ours: a real bot, other clients, a sound server, a
#: network of its own.
OURS_ALONE = [f"--ignore=tests/{name}" for name in ("e2e", "interop", "devices", "network")]

#: Tests in real time, on more than one core, which others would disturb.
ON_THEIR_OWN = [
    "tests/test_bad_webrtc.py",
    "tests/test_cases.py",
    "tests/test_neighbours.py",
    "tests/test_webrtc_matrix.py",
    "tests/testing/test_offers.py",
    "tests/testing/test_webrtc_bot.py",
    "tests/tools/test_load_cli.py",
    "tests/tools/test_load_cluster.py",
    "tests/tools/test_load_processes.py",
    "tests/tools/test_talk_in_tmux.py",
    *sorted(map(str, Path("tests/transports").glob("test_*rtc*.py"))),
]

#: Programs that tests need, each in a package of its name.
TEST_TOOLS = ["espeak-ng", "sox", "tmux", "valgrind"]


def group(name: str) -> list[str]:
    """Return what a dependency group of pyproject.toml asks for."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


@nox.session
def lint(session: nox.Session) -> None:
    """Style and trio's pitfalls."""
    session.install(*group("lint"))
    session.run("ruff", "check", *PLACES)
    session.run("ruff", "format", "--check", *PLACES)
    files = [str(path) for path in Path("trio_pipecat").rglob("*.py")]
    startable = "--startable-in-context-manager=_cancel_on_signal,listen,stop_on_signal"
    session.run("flake8-async", "--enable=ASYNC", f"--disable={NOT_FOR_US}", startable, *files)


#: Rules of flake8-async that do not fit. 124: an async function that never awaits is how one meets
#: an interface. 127: httpx is the project's choice. 910 to 913: they want to see a checkpoint on
#: every path, and cannot see that a call of ours is one; the tests have `assert_checkpoints`.
NOT_FOR_US = "ASYNC124,ASYNC127,ASYNC910,ASYNC911,ASYNC912,ASYNC913"


@nox.session
def types(session: nox.Session) -> None:
    """mypy and pyright, on the package and on how users use it."""
    session.install(".[all]", *group("types"))
    session.run("mypy")
    session.run("pyright", "--pythonpath", session.virtualenv.bin + "/python")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that needs no pipecat, with the coverage of the working tree.

    A tool that is missing and can't be installed is a failure here, not a skipped test.
    """
    session.install(".[all]", *group("test"))
    install_packages(session, *(tool for tool in TEST_TOOLS if not shutil.which(tool)))
    session.env["TRIO_PIPECAT_MUST_RUN"] = "1"
    session.run("coverage", "erase")
    pytest = ["coverage", "run", "-m", "pytest"]
    # What is picked by name may be in one half only.
    codes = [0, 5] if session.posargs else [0]
    others = [f"--ignore={path}" for path in ON_THEIR_OWN]
    session.run(*pytest, "-n", "2", *OURS_ALONE, *others, *session.posargs, success_codes=codes)
    session.run(*pytest, *ON_THEIR_OWN, *session.posargs, success_codes=codes)
    session.run("coverage", "combine", silent=True)
    session.run("coverage", "report")


@nox.session(python=PYTHONS)
def tests_on(session: nox.Session) -> None:
    """The tests of the built and installed package, on each Python that this machine has."""
    session.install(".[all]", *group("test"))
    session.run("pytest", *OURS_ALONE, *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """The tests that talk to a real pipecat bot, which lives in an environment of its own."""
    session.install(".[cli,audio,report,webrtc]", *group("test"))
    session.env["TRIO_PIPECAT_BOT_PYTHON"] = str(pipecat_python(session))
    codes = [0, 5] if session.posargs else [0]
    for how in (("-n", "2", "-m", "not alone"), ("-m", "alone")):
        session.run("pytest", *how, "tests/e2e", *session.posargs, success_codes=codes)


@nox.session
def interop(session: nox.Session) -> None:
    """Other people's programs: the JavaScript client in Chromium, pipecat's, a Prometheus server.

    A tool that is missing and can't be installed is a failure here, not a skipped test.
    """
    session.install(".[cli,otel,report,webrtc]", *group("test"))
    tools = ("chromium", "npm", "prometheus")
    install_packages(session, *(tool for tool in tools if not shutil.which(tool)))
    session.env["TRIO_PIPECAT_BOT_PYTHON"] = str(pipecat_python(session))
    session.env["TRIO_PIPECAT_MUST_RUN"] = "1"
    session.run("pytest", "-n", "2", "tests/interop", *session.posargs)


@nox.session
def devices(session: nox.Session) -> None:
    """Microphones and speakers, on a sound server of the tests' own, in real time."""
    session.install(".[cli,audio]", *group("test"))
    tools = {"pulseaudio": "pulseaudio", "pactl": "pulseaudio-utils"}
    missing = [package for tool, package in tools.items() if not shutil.which(tool)]
    if not ctypes.util.find_library("portaudio"):
        missing.append("libportaudio2")
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        missing.append("libasound2-plugins")
    install_packages(session, *missing)
    session.env["TRIO_PIPECAT_MUST_RUN"] = "1"
    session.run("pytest", "tests/devices", *session.posargs)


@nox.session
def network(session: nox.Session) -> None:
    """Sessions over WebRTC on a network with faults, between machines that are namespaces here.

    A tool that is missing and can't be installed is a failure here, not a skipped test. What the
    kernel can't do, or who runs this may not, is a skipped test that says so.
    """
    session.install(".[webrtc]", *group("test"))
    tools = {"ip": "iproute2", "turnserver": "coturn"}
    missing = [package for tool, package in tools.items() if not shutil.which(tool)]
    install_packages(session, *missing)
    session.env["TRIO_PIPECAT_MUST_RUN"] = "1"
    session.run("pytest", "tests/network", *session.posargs)


@nox.session
def matrix(session: nox.Session) -> None:
    """Print what comes of every fault in every state; ``-- --write`` puts it into the docs."""
    session.install(".", *group("test"))
    session.run("python", "tests/matrix_cells.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What things cost, as ratios within one run; ``-- --quick`` takes three minutes."""
    session.install(".[cli,webrtc]", *group("bench"))
    session.env["TRIO_PIPECAT_BOT_PYTHON"] = str(pipecat_python(session))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Feed the parsers garbage for a while; ``nox -s fuzz -- --seconds 600`` for longer."""
    session.install(".")
    for target in ("codec", "envelope"):
        session.run("python", f"fuzz/fuzz_{target}.py", *(session.posargs or ["--seconds", "60"]))


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated pages of the documentation anew."""
    session.install(".[cli]")
    session.run("python", "docs/generate.py")


def install_packages(session: nox.Session, *names: str) -> None:
    """Install Debian packages, if that needs no password; else say what to type."""
    if not names:
        return
    apt = ["apt-get"] if os.geteuid() == 0 else ["sudo", "-n", "apt-get"]
    try:
        # Lists of packages that are out of date name what is not there any more.
        session.run(*apt, "update", "-qq", external=True, success_codes=[0, 100])
        session.run(*apt, "install", "-y", "-qq", "--no-install-recommends", *names, external=True)
    except nox.command.CommandFailed:
        session.error(f"could not do it; type: apt-get install {' '.join(names)}")


def pipecat_python(session: nox.Session) -> Path:
    """Return the interpreter of an environment with pipecat-ai, made if there is none yet."""
    requirements = Path("tests/e2e/bot/requirements.txt")
    place = Path(session.virtualenv.location).with_name("pipecat-bot")
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    installed = place / "requirements.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        session.run(sys.executable, "-m", "venv", "--clear", str(place), external=True)
        session.run(
            str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements), external=True
        )
        installed.write_text(requirements.read_text())
    return python.absolute()
