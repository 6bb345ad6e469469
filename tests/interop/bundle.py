"""The page with the official JavaScript client: installed from npm and bundled, if not yet done."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from needed import program

_PAGE = Path(__file__).with_name("page")
_MODULES = _PAGE / "node_modules"
_BUNDLES = _PAGE / "dist"
_SOURCES = ("package-lock.json", "index.html", "page.js", "telling.js", "tone.js", "wires.js")
_NPM_SECONDS = 300


def bundled_page() -> Path:
    """Return the folder of the page, ready to be served."""
    npm = program("npm", "apt-get install nodejs npm")
    lock = _digest("package-lock.json")
    installed = _MODULES / "installed-from"
    if not installed.exists() or installed.read_text() != lock:
        _run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        installed.write_text(lock)
    place = _BUNDLES / _digest(*_SOURCES)
    if not place.exists():
        _BUNDLES.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_BUNDLES) as folder:
            esbuild = str(_MODULES / ".bin" / "esbuild")
            outfile = f"--outfile={folder}/site/page.js"
            _run(esbuild, "page.js", "--bundle", "--format=esm", "--log-level=warning", outfile)
            shutil.copy(_PAGE / "index.html", f"{folder}/site")
            Path(folder, "site").rename(place)
    return place


def _digest(*names: str) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(hashlib.sha256((_PAGE / name).read_bytes()).digest())
    return digest.hexdigest()[:16]


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        cwd=_PAGE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_NPM_SECONDS,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-4000:]}", pytrace=False)
