"""python -m benchmarks.serve: what runtime.serve does under load, beside classify in process."""

import asyncio
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.serve import load
from benchmarks.serve.hostile_clients import abuse
from runtime import Classifier
from runtime.errors import EdgeError

# Targets; each is a ratio or a count within this run.
MIN_RATIO = 0.6
MAX_P99_ROUNDS = 2.5  # of the time that one answer for each client takes
MAX_GROWTH = 1.1
_START_TIMEOUT_S = 60
_WARM_UP = 2000
_PROBE_EVERY_S = 0.1


class Server(NamedTuple):
    """A server that was started, and where it listens."""

    process: "subprocess.Popen[str]"
    port: int


@dataclass(frozen=True)
class TargetCheck:
    """One line of the report: what was measured, and whether it is within its target."""

    name: str
    text: str
    passed: bool


@contextlib.contextmanager
def started(*options: str) -> Iterator[Server]:
    """`python -m runtime.serve` on a free port; ended with SIGTERM.

    Raises:
        EdgeError: it did not start.
    """
    command = [sys.executable, "-m", "runtime.serve", "--port", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()  # it ends or announces itself
        found = re.search(r":(\d+)/", said)
        if found is None:
            raise EdgeError(f"the server did not start: {process.communicate()[1].strip()[-300:]}")
        yield Server(process, int(found[1]))
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=_START_TIMEOUT_S)


def photographs(count: int = 8, width: int = 1152, height: int = 868) -> list[bytes]:
    """JPEGs of one megapixel: golden digits in ink on paper, with a shade and with noise."""
    golden = Classifier.load().spec.golden
    if golden is None:
        raise EdgeError("the published model has no golden digits: publish it again")
    noise = np.random.default_rng(0)
    made = []
    for digit in golden.pixels[:count, :, :, 0]:
        ink = Image.fromarray(digit).resize((height // 2, height // 2), Image.Resampling.BICUBIC)
        page = Image.new("L", (width, height))
        page.paste(ink, (width // 4, height // 4))
        shade = np.linspace(225, 170, width) - np.asarray(page, np.float32) * 0.6
        shade += noise.normal(0, 4, shade.shape)
        file = io.BytesIO()
        Image.fromarray(shade.clip(0, 255).astype(np.uint8)).convert("RGB").save(
            file, "JPEG", quality=85
        )
        made.append(file.getvalue())
    return made


def measure_throughput(server: Server, seconds: float) -> list[TargetCheck]:
    """Images a second through the server, its client included, over those of `classify` alone."""
    images = photographs()
    classifier = Classifier.load()
    requests = [load.post("/v1/classify", image, "image/jpeg") for image in images]
    asyncio.run(load.load(server.port, requests, 4, 100))
    rounds, alone, served, cpu_s = 8, [], [], np.zeros(3)
    for _ in range(rounds):  # in turns, so that both meet the same neighbors
        before = time.process_time()
        rate = _rate(lambda number: classifier.classify(images[number % 8]), seconds / rounds / 2)
        alone.append(rate)
        count = max(int(rate * seconds / rounds / 2), 4)
        between, busy = time.process_time(), _cpu_s(server)
        served.append(asyncio.run(load.load(server.port, requests, 4, count)).per_second)
        client = time.process_time() - between
        cpu_s += np.array((between - before, _cpu_s(server) - busy, client)) / count / rounds
    ratio = float(np.median(np.divide(served, alone)))
    in_process, of_server, of_client = cpu_s * 1e3
    text = (
        f"{np.median(served):,.0f} images/s through HTTP, {np.median(alone):,.0f} in process: "
        f"{ratio:.2f} times (at least {MIN_RATIO}); CPU time an image {of_server:.1f} ms in the "
        f"server, {of_client:.1f} ms in the client, {in_process:.1f} ms in process"
    )
    return [TargetCheck("1-megapixel JPEGs", text, ratio >= MIN_RATIO)]


def measure_crowd(server: Server, clients: int, each: int) -> list[TargetCheck]:
    """Many clients at once: none dropped, and the slowest waits about as long as its turn takes."""
    requests = [load.post("/v1/classify", image, "image/jpeg") for image in photographs()]
    crowd = asyncio.run(load.load(server.port, requests, clients, clients * each))
    if not crowd.latencies_ns:
        return [
            TargetCheck(f"{clients} clients", f"all of {clients * each} requests failed", False)
        ]
    p50, p99 = (float(np.percentile(crowd.latencies_ns, q)) / 1e9 for q in (50, 99))
    turn = clients / crowd.per_second
    text = (
        f"{len(crowd.latencies_ns):,} answered, {crowd.failed} dropped; p50 {p50:.2f} s, "
        f"p99 {p99:.2f} s, {p99 / turn:.2f} times a turn of all (at most {MAX_P99_ROUNDS})"
    )
    passed = crowd.failed == 0 and p99 <= MAX_P99_ROUNDS * turn
    return [TargetCheck(f"{clients} clients", text, passed)]


def measure_memory(server: Server, requests: int) -> list[TargetCheck]:
    """Resident memory after so many requests, over that after the first few."""
    small = [load.post("/v1/classify", image, "image/png") for image in _small_images()]
    warm_up = min(requests, _WARM_UP)
    asyncio.run(load.load(server.port, small, 8, warm_up))
    before = _resident(server)
    ended = asyncio.run(load.load(server.port, small, 8, requests))
    after = _resident(server)
    text = (
        f"{before / 1e6:.1f} MB after {warm_up:,}, {after / 1e6:.1f} MB after {requests:,} more: "
        f"{after / before:.3f} times (at most {MAX_GROWTH}); {ended.failed} dropped, "
        f"{ended.per_second:,.0f} requests/s"
    )
    passed = ended.failed == 0 and after <= MAX_GROWTH * before
    return [TargetCheck("memory", text, passed)]


def measure_abuse(server: Server, seconds: float) -> list[TargetCheck]:
    """Probes by an ordinary client while slow, broken and oversized ones are at it."""

    async def probe() -> tuple[list[int], int]:
        bad = asyncio.create_task(abuse(server.port))
        request = load.post("/v1/classify", _small_images()[0], "image/png")
        latencies, failed = [], 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            one = await load.load(server.port, [request], 1, 1)
            latencies += one.latencies_ns
            failed += one.failed
            await asyncio.sleep(_PROBE_EVERY_S)
        bad.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await bad
        return latencies, failed

    latencies, failed = asyncio.run(probe())
    worst = max(latencies, default=0) / 1e6
    text = (
        f"{seconds:g} s: {len(latencies)} probes answered, {failed} not; p50 "
        f"{np.median(latencies or [0]) / 1e6:.1f} ms, slowest {worst:.0f} ms; "
        f"{_resident(server) / 1e6:.1f} MB"
    )
    return [TargetCheck("abuse", text, failed == 0 and len(latencies) > 0)]


def measure_end(clients: int = 50) -> list[TargetCheck]:
    """SIGTERM with requests in flight: each is answered, and the server ends with status 0."""
    requests = [load.post("/v1/classify", image, "image/jpeg") for image in photographs()]

    async def end(server: Server) -> list[load.HttpResponse | BaseException]:
        async with contextlib.AsyncExitStack() as stack:
            opened = [
                await stack.enter_async_context(load.connect(server.port)) for _ in range(clients)
            ]
            asked = [
                asyncio.create_task(connection.ask(requests[number % len(requests)]))
                for number, connection in enumerate(opened)
            ]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            server.process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*asked, return_exceptions=True)

    with started() as server:
        answers = asyncio.run(end(server))
        status = server.process.wait(_START_TIMEOUT_S)
    good = sum(isinstance(each, load.HttpResponse) and each.status == 200 for each in answers)
    text = f"{good} of {clients} requests in flight answered, exit status {status}"
    return [TargetCheck("SIGTERM", text, good == clients and status == 0)]


def _rate(work: Callable[[int], object], seconds: float) -> float:
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work(count)
        count += 1
    return count / (time.perf_counter() - start)


def _cpu_s(server: Server) -> float:
    """Return the CPU time of the server and its worker so far; 0 if the system does not tell."""
    ticks = 0
    for process in (server.process.pid, *_children(server.process.pid)):
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return 0.0
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _children(process: int) -> list[int]:
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def _small_images() -> list[bytes]:
    golden = Classifier.load().spec.golden
    assert golden is not None
    made = []
    for digit in golden.pixels[:, :, :, 0]:
        file = io.BytesIO()
        Image.fromarray(digit).save(file, "PNG")
        made.append(file.getvalue())
    return made


def _resident(server: Server) -> int:
    """Return the resident bytes of the server and its worker together."""

    async def ask() -> bytes:
        async with load.connect(server.port) as connection:
            return (await connection.ask(load.get("/metrics"))).body

    # Of the server and of its worker.
    found = re.findall(rb"^\S+resident_memory_bytes (\d+)", asyncio.run(ask()), re.M)
    assert len(found) == 2
    return sum(map(int, found))
