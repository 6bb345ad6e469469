"""A Prometheus server scrapes a load run, and answers queries with what the report says."""

import json
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from load_bot import running_bot
from needed import missing, program

#: Far more than it takes on a busy machine, in seconds.
BOUND = 60


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def get(url: str) -> bytes:
    """Return what is there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        body: bytes = response.read()
        return body


class Prometheus:
    """A server of its own, with one target; it is ended by its process id."""

    def __init__(self, folder: Path, target: int) -> None:
        path = program("prometheus", "apt-get install prometheus")
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"
            "scrape_configs:\n"
            "  - job_name: load\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
        )
        self.port = free_port()
        self._log = (folder / "prometheus.log").open("w+")
        command = [
            path,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, cwd=folder
        )

    def __enter__(self) -> "Prometheus":
        try:
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + BOUND
        while True:
            try:
                get(f"http://127.0.0.1:{self.port}/-/ready")
            except OSError:
                assert self._process.poll() is None, self.log()
                assert time.monotonic() < until, self.log()
                time.sleep(0.1)
            else:
                return

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def log(self) -> str:
        """Return what it has to say."""
        self._log.seek(0)
        return self._log.read()[-4_000:]

    def query(self, query: str) -> list[Any]:
        """Return what it answers, a number for each series."""
        words = urllib.parse.urlencode({"query": query})
        answer = json.loads(get(f"http://127.0.0.1:{self.port}/api/v1/query?{words}"))
        assert "success" == answer["status"]
        return [float(found["value"][1]) for found in answer["data"]["result"]]

    def last(self, series: str) -> list[Any]:
        """Return the last values of a series, of a target that may be gone by now."""
        return self.query(f"last_over_time({series}[5m])")


def test_a_run_is_scraped(tmp_path: Path) -> None:
    """What nobody adds to at the end, it has as the report has it."""
    for package in ("prometheus_client", "hdrh", "click"):
        try:
            __import__(package)
        except ImportError:
            missing(package, 'pip install "trio-pipecat[cli,report,otel]"')
    file = tmp_path / "run.json"
    port = free_port()
    with Prometheus(tmp_path, port) as prometheus, running_bot() as bot:
        options: dict[str, object] = {"callers": 4, "duration": "16s", "cool-down": "8s"}
        options |= {"greeting": "0s", "turn-pause": "100ms", "wind-down": "0s", "text": "Hi"}
        options |= {"prometheus": port, "json": file}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        command = [sys.executable, "-m", "trio_pipecat", "load", bot.url, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=2 * BOUND
        )
        # A machine that was busy meanwhile is none of Prometheus's business.
        assert done.returncode in (0, 3), done.stderr
        document = json.loads(file.read_text())
        counts, waited = document["counts"], document["metrics"]["t2v"]
        assert counts["calls"] > 4
        prefix = "trio_pipecat_load"
        assert [counts["calls"]] == prometheus.last(f"{prefix}_calls_total"), prometheus.log()
        assert [counts["turns"]] == prometheus.last(f"{prefix}_turns_total")
        assert [waited["count"]] == prometheus.last(f"{prefix}_t2v_seconds_count")
        (total,) = prometheus.last(f"{prefix}_t2v_seconds_sum")
        assert waited["mean"] == pytest.approx(total / waited["count"], abs=0.001)
        (median,) = prometheus.query(
            f"histogram_quantile(0.5, last_over_time({prefix}_t2v_seconds_bucket[5m]))"
        )
        # As exact as its buckets are.
        assert waited["p50"] == pytest.approx(median, abs=0.25)
        (most,) = prometheus.query(f"max_over_time({prefix}_callers{{state='ready'}}[5m])")
        assert 4 == most
