"""A TURN server on one of the machines: Debian's coturn."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hosts import BOUND, Host
from needed import program

LINE = "apt-get install coturn"
USERNAME, CREDENTIAL = "caller", "s3cret-credential"
PORT = 3478


@contextmanager
def turn_server(host: Host) -> Iterator[str]:
    """Have one, or skip the test; gives its address."""
    command = program("turnserver", LINE)
    with tempfile.TemporaryDirectory() as place:
        options = {
            "listening-ip": host.address,
            "relay-ip": host.address,
            "listening-port": str(PORT),
            "user": f"{USERNAME}:{CREDENTIAL}",
            "realm": "turn.example",
            "log-file": f"{place}/log",
            "pidfile": f"{place}/pid",
            "userdb": f"{place}/users",
        }
        flags = ["lt-cred-mech", "fingerprint", "no-cli", "no-tls", "no-dtls", "simple-log"]
        words = [f"--{name}={value}" for name, value in options.items()]
        words += [f"--{flag}" for flag in flags]
        with Path(place, "said").open("w") as said:
            server = subprocess.Popen(
                host.command(command, "-n", *words), stdout=said, stderr=said, cwd=place
            )
        try:
            _wait_until_it_listens(server, host, Path(place))
            yield f"{host.address}:{PORT}"
        finally:
            server.kill()
            server.wait()


def _wait_until_it_listens(server: "subprocess.Popen[bytes]", host: Host, place: Path) -> None:
    """UDP last: it is what the clients come with."""
    end = time.monotonic() + BOUND
    while time.monotonic() < end and server.poll() is None:
        sockets = subprocess.run(
            host.command("ss", "-Hlun"), capture_output=True, text=True, check=True
        )
        if f"{host.address}:{PORT}" in sockets.stdout:
            return
        time.sleep(0.05)
    said = "".join(path.read_text() for path in place.glob("[ls]*") if path.is_file())
    raise AssertionError(f"coturn does not listen: {said[-4000:]}")
