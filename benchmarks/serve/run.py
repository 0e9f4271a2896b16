"""The load tests of `digit-edge serve`, each with a target.

`digit-edge benchmark-serve` runs all of them on a server in a subprocess on the same machine. The
tests measure throughput, latency with many clients, and memory over many requests. Two tests check
the service during attacks of hostile clients, and the shutdown by SIGTERM.
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

# Targets. All are ratios within one run, because ratios hold on any machine.
MIN_RATIO = 0.6  # least images/s through HTTP, divided by images/s of `classify` in process

# Largest 99th percentile of the latency, in rounds: a round is the mean time in which each client
# gets one response.
MAX_P99_ROUNDS = 2.5
MAX_GROWTH = 1.1  # largest resident memory after the memory test, divided by memory before the test

_EXIT_TIMEOUT_S = 60  # time from SIGTERM to the end of the server; beyond it, the run fails

# Number of times that the throughput test alternates between classifying in process and through
# HTTP. Other programs then slow down both sides of the comparison.
_THROUGHPUT_ROUNDS = 8
_THROUGHPUT_CLIENTS = 4  # simultaneous clients of the throughput test
_THROUGHPUT_WARM_UP_REQUESTS = 100  # sent before the throughput test
_MEMORY_CLIENTS = 8  # simultaneous clients of the memory test
_MEMORY_WARM_UP_REQUESTS = 2000  # sent before the first measurement of memory
_PROBE_INTERVAL_S = 0.1  # pause between two requests of the ordinary client during an attack
_MAX_ERROR_CHARACTERS = 300  # end of the server's error output that a message contains


class Server(NamedTuple):
    """A running server.

    Attributes:
        process: the process of the server.
        port: the port on this machine that the server listens on.
    """

    process: "subprocess.Popen[str]"
    port: int


@dataclass(frozen=True)
class TargetCheck:
    """The result of one test.

    Attributes:
        name: the name of the test.
        text: the measured figures and the targets, for the printed line.
        passed: True if the targets are met.
    """

    name: str
    text: str
    passed: bool


@contextlib.contextmanager
def started(*options: str) -> Iterator[Server]:
    """Run `digit-edge serve` on a free port during the block; end it with SIGTERM.

    Args:
        options: further options of the server.

    Yields:
        The running server.

    Raises:
        EdgeError: the server did not start.
        subprocess.TimeoutExpired: the server did not end after SIGTERM.
    """
    command = module_command(own_name("runtime.serve"), "--port", "0", *options)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert process.stdout is not None
        announcement = process.stdout.readline()  # empty if the server ends instead
        port = re.search(r":(\d+)/", announcement)  # in the printed address of the server
        if port is None:
            errors = process.communicate()[1].strip()
            raise EdgeError(f"the server did not start: {errors[-_MAX_ERROR_CHARACTERS:]}")
        yield Server(process, int(port[1]))
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=_EXIT_TIMEOUT_S)


def photographs(count: int = 8, width_px: int = 1152, height_px: int = 868) -> list[bytes]:
    """Draw JPEG photographs: golden digits in ink on paper, with uneven light and noise.

    Golden digits are the test images that an artifact contains with their expected scores.

    Args:
        count: number of photographs. If the published model contains fewer golden digits, one
            photograph of each is returned.
        width_px: width of the photographs.
        height_px: height of the photographs; the default size is one megapixel.

    Returns:
        The bytes of the JPEG files.

    Raises:
        EdgeError: the published model contains no golden digits.
    """
    golden = Classifier.load().spec.golden
    if golden is None:
        raise EdgeError(
            "the published model contains no golden digits: export and publish the model again"
        )
    random = np.random.default_rng(0)
    files = []
    for digit in golden.pixels[:count, :, :, 0]:
        side = height_px // 2
        ink = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
        page = Image.new("L", (width_px, height_px))
        page.paste(ink, (width_px // 4, height_px // 4))
        # Gray level of paper: 225 at the left, 170 at the right. Ink is darker by up to 153.
        gray = np.linspace(225, 170, width_px) - np.asarray(page, np.float32) * 0.6
        gray += random.normal(0, 4, gray.shape)  # sensor noise
        file = io.BytesIO()
        photograph = Image.fromarray(gray.clip(0, 255).astype(np.uint8)).convert("RGB")
        photograph.save(file, "JPEG", quality=85)
        files.append(file.getvalue())
    return files


def measure_throughput(server: Server, seconds: float) -> TargetCheck:
    """Measure images per second through HTTP, as a ratio to `classify` in this process.

    Args:
        server: the running server.
        seconds: approximate duration of the test; greater than 0.

    Returns:
        The check; it passes if the median ratio of the rounds is at least `MIN_RATIO`. Its text
        also contains CPU times; that of the server is 0 if the system has no /proc.

    Raises:
        EdgeError: the published model contains no golden digits.
    """
    images = photographs()
    classifier = Classifier.load()
    requests = [load.post("/v1/classify", image, "image/jpeg") for image in images]
    _load(server, requests, _THROUGHPUT_CLIENTS, _THROUGHPUT_WARM_UP_REQUESTS)
    half_round_s = seconds / _THROUGHPUT_ROUNDS / 2  # one half in process, one through HTTP
    direct_rates, http_rates = [], []
    cpu_s = np.zeros(3)  # per image: in process, in the server, in the client
    for _ in range(_THROUGHPUT_ROUNDS):
        direct_start_s = time.process_time()
        direct_rate = _rate(
            lambda number: classifier.classify(images[number % len(images)]), half_round_s
        )
        direct_rates.append(direct_rate)
        count = max(int(direct_rate * half_round_s), _THROUGHPUT_CLIENTS)
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
        f"process; ratio {ratio:.2f} (target: at least {MIN_RATIO}); CPU time per image "
        f"{server_ms:.1f} ms in the server, {client_ms:.1f} ms in the client, "
        f"{direct_ms:.1f} ms in process"
    )
    return TargetCheck("1-megapixel JPEGs", text, ratio >= MIN_RATIO)


def measure_crowd(server: Server, clients: int, each: int) -> TargetCheck:
    """Measure latency with many clients: no request may fail, and no client may wait too long.

    A round is the mean time in which each client gets one response. If a server is fair, the 99th
    percentile of the latency is close to one round.

    Args:
        server: the running server.
        clients: number of simultaneous clients.
        each: requests of each client.

    Returns:
        The check; it passes if no request fails and the 99th percentile is at most
        `MAX_P99_ROUNDS` rounds.

    Raises:
        EdgeError: the published model contains no golden digits.
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
        f"p99 {p99_s:.2f} s, or {p99_s / round_s:.2f} rounds of all clients (target: at most "
        f"{MAX_P99_ROUNDS})"
    )
    passed = result.failed == 0 and p99_s <= MAX_P99_ROUNDS * round_s
    return TargetCheck(name, text, passed)


def measure_memory(server: Server, requests: int) -> TargetCheck:
    """Measure the growth of resident memory over many requests, to find memory leaks.

    Args:
        server: the running server.
        requests: number of requests after the warm-up; the warm-up has no more requests than this.

    Returns:
        The check; it passes if no request fails and the memory grows at most by the factor
        `MAX_GROWTH`.
    """
    posts = [load.post("/v1/classify", image, "image/png") for image in _small_images()]
    warm_up = min(requests, _MEMORY_WARM_UP_REQUESTS)
    _load(server, posts, _MEMORY_CLIENTS, warm_up)
    before_bytes = _resident_bytes(server)
    result = _load(server, posts, _MEMORY_CLIENTS, requests)
    after_bytes = _resident_bytes(server)
    text = (
        f"{before_bytes / 1e6:.1f} MB after {counted(warm_up, 'request')}, "
        f"{after_bytes / 1e6:.1f} MB after {requests:,} more; ratio "
        f"{after_bytes / before_bytes:.3f} (target: at most {MAX_GROWTH}); "
        f"{result.failed} failed, {result.per_second:,.0f} requests/s"
    )
    passed = result.failed == 0 and after_bytes <= MAX_GROWTH * before_bytes
    return TargetCheck("memory", text, passed)


def measure_abuse(server: Server, seconds: float) -> TargetCheck:
    """Check that an ordinary client is served while hostile clients attack the server.

    Args:
        server: the running server.
        seconds: duration of the test; greater than 0.

    Returns:
        The check; it passes if all requests of the ordinary client, at least one, are answered.
    """

    async def probe() -> tuple[list[int], int]:
        """Return the latencies of the ordinary client in ns, and the number of failed requests."""
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
        f"{seconds:g} s: {counted(len(latencies_ns), 'ordinary request')} answered, "
        f"{failed} failed; p50 {np.median(latencies_ns or [0]) / 1e6:.1f} ms, "
        f"slowest {slowest_ms:.0f} ms; "
        f"{_resident_bytes(server) / 1e6:.1f} MB of memory"
    )
    return TargetCheck("abuse", text, failed == 0 and len(latencies_ns) > 0)


def measure_end(clients: int = 50) -> TargetCheck:
    """Check that a server that gets SIGTERM answers all requests in flight and exits with 0.

    The check starts a server of its own.

    Args:
        clients: number of simultaneous requests.

    Raises:
        EdgeError: the server did not start, or the published model contains no golden digits.
        subprocess.TimeoutExpired: the server did not end after SIGTERM.
    """
    requests = [load.post("/v1/classify", image, "image/jpeg") for image in photographs()]

    async def terminate(server: Server) -> list[load.HttpResponse | BaseException]:
        """Send SIGTERM after the first response; return all responses and errors."""
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
    """Run `load.load` with the port of a server."""
    return asyncio.run(load.load(server.port, requests, clients, count))


def _rate(work: Callable[[int], object], seconds: float) -> float:
    """Call `work` with 0, 1, 2, … for at least `seconds`; return the calls per second."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work(count)
        count += 1
    return count / (time.perf_counter() - start)


def _cpu_s(server: Server) -> float:
    """Return the total CPU time of the server and its worker process; 0 if /proc is missing."""
    ticks = 0
    for process in (server.process.pid, *_children(server.process.pid)):
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return 0.0
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime of proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def _children(process: int) -> list[int]:
    """Return the process ids of the children; empty if /proc is missing."""
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
    """Return the resident memory of the server and its worker process together, from /metrics."""

    async def ask() -> bytes:
        """Return the text of /metrics."""
        async with load.connect(server.port) as connection:
            return (await connection.ask(load.get("/metrics"))).body

    sizes = re.findall(rb"^\S+resident_memory_bytes (\d+)", asyncio.run(ask()), re.M)
    assert len(sizes) == 2  # the server and its worker
    return sum(map(int, sizes))
