"""What TLS costs a session: ``python -m benchmarks tls``.

Fifty sessions stream sound in one process, with TLS and without it in turn; who listens is another
process. What is compared is the CPU of this one.
"""

import ssl
import statistics
import tempfile
import time
from pathlib import Path

import trio
import trustme

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk

from .resident import resident_kib
from .sink import running_sink

SESSIONS = 50
RATE = 16_000


async def hold(url: str, context: ssl.SSLContext | None, seconds: float) -> tuple[float, float]:
    """Return the CPU of a session, in µs a second, and its memory, in KiB."""
    sound = AudioChunk(bytes(RATE * 2) * (round(seconds) + 10), RATE)

    async def call(task_status: trio.TaskStatus[None]) -> None:
        async with tp.open_session(url, ssl_context=context) as session:
            await session.wait_ready()
            task_status.started()
            await session.stream_audio(sound)

    async with trio.open_nursery() as nursery:
        before = resident_kib()
        for _ in range(SESSIONS):
            await nursery.start(call)
        await trio.sleep(1)
        memory = (resident_kib() - before) / SESSIONS
        began, used = time.perf_counter(), time.process_time()
        await trio.sleep(seconds)
        busy = (time.process_time() - used) / (time.perf_counter() - began)
        nursery.cancel_scope.cancel()
    return busy / SESSIONS * 1e6, memory


def main(*, rounds: int, seconds: float) -> None:
    """Print the ratio."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "certificate.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        with running_sink() as plain, running_sink(str(certificate)) as encrypted:
            trio.run(hold, plain, None, 1)  # warms up
            for number in range(rounds):
                bare, bare_memory = trio.run(hold, plain, None, seconds)
                ours, memory = trio.run(hold, encrypted, context, seconds)
                ratios.append(ours / bare)
                print(
                    f"round {number + 1}: {ours:.0f} µs a session and second with TLS, {bare:.0f} "
                    f"without; {memory:.0f} and {bare_memory:.0f} KiB",
                    flush=True,
                )
    median = statistics.median(ratios)
    print(f"TLS costs {median:.2f} times as much CPU ({min(ratios):.2f} to {max(ratios):.2f})")
