"""The load tests of `digit-edge serve`, each with a target.

They measure throughput compared with `Classifier.classify` in process, latency with many clients,
memory over many requests, service during attacks of hostile clients, and shutdown by SIGTERM.
"""

import asyncio
import contextlib
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.report.formats import counted
from benchmarks.serve import load
from benchmarks.serve.hostile_clients import abuse
from runtime import Classifier
from runtime.errors import EdgeError
from runtime.system.own_modules import module_command, own_name

# Targets; all are ratios within one run, so that they hold on any machine.
MIN_RATIO = 0.6  # images/s through HTTP over images/s of classify in process
MAX_P99_ROUNDS = 2.5  # 99th percentile of the latency over the time of one response per client
MAX_GROWTH = 1.1  # resident memory after the memory test over that after its warm-up

_EXIT_TIMEOUT_S = 60  # longest time from SIGTERM to the end of the server
_THROUGHPUT_ROUNDS = 8  # in process and through HTTP in turns, so that both meet the same load
_THROUGHPUT_CLIENTS = 4  # simultaneous clients of the throughput test
_THROUGHPUT_WARM_UP_REQUESTS = 100  # sent before the throughput test
_MEMORY_CLIENTS = 8  # simultaneous clients of the memory test
_MEMORY_WARM_UP_REQUESTS = 2000  # sent before memory is measured first
_PROBE_INTERVAL_S = 0.1  # time between two requests of the ordinary client during an attack


class Server(NamedTuple):
    """A running server and its port."""

    process: "subprocess.Popen[str]"
    port: int


@dataclass(frozen=True)
class TargetCheck:
    """The result of one test: its name, its figures as text, and whether the target is met."""

    name: str
    text: str
    passed: bool


@contextlib.contextmanager
def started(*options: str) -> Iterator[Server]:
    """Run `digit-edge serve` on a free port during the block; end it with SIGTERM.

    Args:
        options: further options of the server.

    Raises:
        EdgeError: the server did not start.
    """
    command = module_command(own_name("runtime.serve"), "--port", "0", *options)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert process.stdout is not None
        announcement = process.stdout.readline()  # empty if the server ends instead
        port = re.search(r":(\d+)/", announcement)
        if port is None:
            raise EdgeError(f"the server did not start: {process.communicate()[1].strip()[-300:]}")
        yield Server(process, int(port[1]))
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=_EXIT_TIMEOUT_S)


def photographs(count: int = 8, width_px: int = 1152, height_px: int = 868) -> list[bytes]:
    """Draw JPEG photographs: golden digits in ink on paper, with uneven light and noise.

    Args:
        count: number of photographs, at most that of the model's golden digits.
        width_px: their width.
        height_px: their height; the default size is one megapixel.

    Raises:
        EdgeError: the published model contains no golden digits.
    """
    golden = Classifier.load().spec.golden
    if golden is None:
        raise EdgeError("the published model contains no golden digits: publish it again")
    random = np.random.default_rng(0)
    files = []
    for digit in golden.pixels[:count, :, :, 0]:
        side = height_px // 2
        ink = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
        page = Image.new("L", (width_px, height_px))
        page.paste(ink, (width_px // 4, height_px // 4))
        gray = np.linspace(225, 170, width_px) - np.asarray(page, np.float32) * 0.6
        gray += random.normal(0, 4, gray.shape)
        file = io.BytesIO()
        photograph = Image.fromarray(gray.clip(0, 255).astype(np.uint8)).convert("RGB")
        photograph.save(file, "JPEG", quality=85)
        files.append(file.getvalue())
    return files


def measure_throughput(server: Server, seconds: float) -> TargetCheck:
    """Measure images per second through HTTP, as a ratio to `classify` in this process.

    Args:
        server: the running server.
        seconds: approximate duration of the test.
    """
    images = photographs()
    classifier = Classifier.load()
    requests = [load.post("/v1/classify", image, "image/jpeg") for image in images]
    _load(server, requests, _THROUGHPUT_CLIENTS, _THROUGHPUT_WARM_UP_REQUESTS)
    round_s = seconds / _THROUGHPUT_ROUNDS / 2
    direct_rates, http_rates = [], []
    cpu_s = np.zeros(3)  # per image: in process, in the server, in the client
    for _ in range(_THROUGHPUT_ROUNDS):
        direct_start_s = time.process_time()
        direct_rate = _rate(lambda number: classifier.classify(images[number % 8]), round_s)
        direct_rates.append(direct_rate)
        count = max(int(direct_rate * round_s), _THROUGHPUT_CLIENTS)
        client_start_s, server_start_s = time.process_time(), _cpu_s(server)
        http_rates.append(_load(server, requests, _THROUGHPUT_CLIENTS, count).per_second)
        client_s = time.process_time() - client_start_s
        server_s = _cpu_s(server) - server_start_s
        direct_s = client_start_s - direct_start_s
        cpu_s += np.array((direct_s, server_s, client_s)) / count / _THROUGHPUT_ROUNDS
    ratio = float(np.median(np.divide(http_rates, direct_rates)))
    direct_ms, server_ms, client_ms = cpu_s * 1e3
    text = (
        f"{np.median(http_rates):,.0f} images/s through HTTP, {np.median(direct_rates):,.0f} in "
        f"process: {ratio:.2f} times (at least {MIN_RATIO}); CPU time per image "
        f"{server_ms:.1f} ms in the server, {client_ms:.1f} ms in the client, "
        f"{direct_ms:.1f} ms in process"
    )
    return TargetCheck("1-megapixel JPEGs", text, ratio >= MIN_RATIO)


def measure_crowd(server: Server, clients: int, each: int) -> TargetCheck:
    """Measure latency with many clients: no request may fail, and no client may wait too long.

    A fair server serves each client once per round, so that the 99th percentile of the latency is
    close to the time of a round.

    Args:
        server: the running server.
        clients: number of simultaneous clients.
        each: requests of each client.
    """
    requests = [load.post("/v1/classify", image, "image/jpeg") for image in photographs()]
    result = _load(server, requests, clients, clients * each)
    name = counted(clients, "client")
    if not result.latencies_ns:
        return TargetCheck(name, f"all of {counted(clients * each, 'request')} failed", False)
    p50_s, p99_s = (float(np.percentile(result.latencies_ns, q)) / 1e9 for q in (50, 99))
    round_s = clients / result.per_second
    text = (
        f"{len(result.latencies_ns):,} answered, {result.failed} failed; p50 {p50_s:.2f} s, "
        f"p99 {p99_s:.2f} s, {p99_s / round_s:.2f} times a round of all clients (at most "
        f"{MAX_P99_ROUNDS})"
    )
    passed = result.failed == 0 and p99_s <= MAX_P99_ROUNDS * round_s
    return TargetCheck(name, text, passed)


def measure_memory(server: Server, requests: int) -> TargetCheck:
    """Measure the growth of resident memory over many requests, to find memory leaks.

    Args:
        server: the running server.
        requests: number of requests after the warm-up.
    """
    posts = [load.post("/v1/classify", image, "image/png") for image in _small_images()]
    warm_up = min(requests, _MEMORY_WARM_UP_REQUESTS)
    _load(server, posts, _MEMORY_CLIENTS, warm_up)
    before_bytes = _resident_bytes(server)
    result = _load(server, posts, _MEMORY_CLIENTS, requests)
    after_bytes = _resident_bytes(server)
    text = (
        f"{before_bytes / 1e6:.1f} MB after {counted(warm_up, 'request')}, "
        f"{after_bytes / 1e6:.1f} MB after {requests:,} more: "
        f"{after_bytes / before_bytes:.3f} times (at most {MAX_GROWTH}); "
        f"{result.failed} failed, {result.per_second:,.0f} requests/s"
    )
    passed = result.failed == 0 and after_bytes <= MAX_GROWTH * before_bytes
    return TargetCheck("memory", text, passed)


def measure_abuse(server: Server, seconds: float) -> TargetCheck:
    """Check that an ordinary client is served while hostile clients attack the server.

    Args:
        server: the running server.
        seconds: duration of the test.
    """

    async def probe() -> tuple[list[int], int]:
        attack = asyncio.create_task(abuse(server.port))
        request = load.post("/v1/classify", _small_images()[0], "image/png")
        latencies_ns: list[int] = []
        failed = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            result = await load.load(server.port, [request], 1, 1)
            latencies_ns += result.latencies_ns
            failed += result.failed
            await asyncio.sleep(_PROBE_INTERVAL_S)
        attack.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await attack
        return latencies_ns, failed

    latencies_ns, failed = asyncio.run(probe())
    slowest_ms = max(latencies_ns, default=0) / 1e6
    text = (
        f"{seconds:g} s: {counted(len(latencies_ns), 'probe')} answered, {failed} failed; p50 "
        f"{np.median(latencies_ns or [0]) / 1e6:.1f} ms, slowest {slowest_ms:.0f} ms; "
        f"{_resident_bytes(server) / 1e6:.1f} MB"
    )
    return TargetCheck("abuse", text, failed == 0 and len(latencies_ns) > 0)


def measure_end(clients: int = 50) -> TargetCheck:
    """Check that a server that gets SIGTERM answers all requests in flight and exits with 0.

    Args:
        clients: number of simultaneous requests.
    """
    requests = [load.post("/v1/classify", image, "image/jpeg") for image in photographs()]

    async def terminate(server: Server) -> list[load.HttpResponse | BaseException]:
        async with contextlib.AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(load.connect(server.port)) for _ in range(clients)
            ]
            in_flight = [
                asyncio.create_task(connection.ask(requests[number % len(requests)]))
                for number, connection in enumerate(connections)
            ]
            await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
            server.process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*in_flight, return_exceptions=True)

    with started() as server:
        responses = asyncio.run(terminate(server))
        status = server.process.wait(_EXIT_TIMEOUT_S)
    answered = sum(isinstance(r, load.HttpResponse) and r.status == 200 for r in responses)
    text = f"{answered} of {counted(clients, 'request')} in flight answered, exit status {status}"
    return TargetCheck("SIGTERM", text, answered == clients and status == 0)


def _load(server: Server, requests: Sequence[bytes], clients: int, count: int) -> load.Load:
    return asyncio.run(load.load(server.port, requests, clients, count))


def _rate(work: Callable[[int], object], seconds: float) -> float:
    """Call `work` with 0, 1, … for some seconds; return the calls per second."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work(count)
        count += 1
    return count / (time.perf_counter() - start)


def _cpu_s(server: Server) -> float:
    """Return the total CPU time of the server and its worker; 0 if /proc is missing."""
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
    """Return the process ids of the children."""
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def _small_images() -> list[bytes]:
    """Return the golden digits of the published model as PNG files of 28×28."""
    golden = Classifier.load().spec.golden
    assert golden is not None
    files = []
    for digit in golden.pixels[:, :, :, 0]:
        file = io.BytesIO()
        Image.fromarray(digit).save(file, "PNG")
        files.append(file.getvalue())
    return files


def _resident_bytes(server: Server) -> int:
    """Return the resident memory of the server and its worker together, from /metrics."""

    async def ask() -> bytes:
        async with load.connect(server.port) as connection:
            return (await connection.ask(load.get("/metrics"))).body

    sizes = re.findall(rb"^\S+resident_memory_bytes (\d+)", asyncio.run(ask()), re.M)
    assert len(sizes) == 2  # the server and its worker
    return sum(map(int, sizes))
