"""Counts what the server does, in Prometheus's text form.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import bisect
import dataclasses
import os
import threading
import time
from collections import Counter
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.serve import bodies

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Durations in seconds, counted by buckets."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS_S) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect.bisect_left(_BUCKETS_S, seconds)] += 1
        self.sum += seconds

    def lines(self, name: str, labels: str = "") -> list[str]:
        """The series of one histogram."""
        lines, total = [], 0
        for bound, count in zip((*_BUCKETS_S, "+Inf"), self.counts, strict=True):
            total += count
            inner = ",".join(part for part in (labels, f'le="{bound}"') if part)
            lines.append(f"{name}_bucket{{{inner}}} {total}")
        braces = f"{{{labels}}}" if labels else ""
        return [*lines, f"{name}_sum{braces} {self.sum:.9g}", f"{name}_count{braces} {total}"]


class ServerMetrics:
    """The server's counters. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._answers: Counter[tuple[str, bool]] = Counter()
        self._durations: dict[str, Histogram] = {}
        self._inference = Histogram()
        self.in_flight = 0

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered; `path` is a route, never what a client made up."""
        with self._lock:
            self._requests[path, status] += 1
            self._durations.setdefault(path, Histogram()).add(seconds)

    def count_answer(self, label: str, accepted: bool, seconds: float | None = None) -> None:
        """Count one digit that was classified, and how long that took where it is known."""
        with self._lock:
            self._answers[label, accepted] += 1
            if seconds is not None:
                self._inference.add(seconds)

    def text(self, model: bodies.Model, waiting: int, worker_pid: int | None, restarts: int) -> str:
        """Return all of it in Prometheus's text form.

        Args:
            model: the open artifact; digit_edge_model_info has the fields of `bodies.Model`.
            waiting: requests that the worker process has not answered.
            worker_pid: that process's ID; None if there is none right now.
            restarts: how often it was replaced.
        """
        with self._lock:
            lines = _head("digit_edge_requests_total", "counter", "Requests answered.")
            for (path, status), count in sorted(self._requests.items()):
                lines.append(
                    f'digit_edge_requests_total{{path="{path}",status="{status}"}} {count}'
                )
            name = "digit_edge_request_duration_seconds"
            lines += _head(name, "histogram", "From a request's headers to the end of its answer.")
            for path, histogram in sorted(self._durations.items()):
                lines += histogram.lines(name, f'path="{path}"')
            name = "digit_edge_inference_duration_seconds"
            lines += _head(name, "histogram", "Of a digit at /v1/classify, once found.")
            lines += self._inference.lines(name)
            name = "digit_edge_answers_total"
            lines += _head(name, "counter", "Digits classified.")
            for (label, accepted), count in sorted(self._answers.items()):
                lines.append(
                    f'{name}{{label="{_escape(label)}",accepted="{str(accepted).lower()}"}} {count}'
                )
        for name, text, value in (
            ("digit_edge_requests_in_flight", "Requests not yet answered.", self.in_flight),
            ("digit_edge_requests_waiting", "Requests waiting for the worker, or in it.", waiting),
            ("process_resident_memory_bytes", "Resident memory.", _resident_bytes("self")),
            (
                "digit_edge_worker_resident_memory_bytes",
                "Resident memory of the process that decodes images.",
                0 if worker_pid is None else _resident_bytes(worker_pid),
            ),
        ):
            lines += [*_head(name, "gauge", text), f"{name} {value}"]
        name = "digit_edge_worker_restarts_total"
        lines += _head(name, "counter", "Processes that decode images that had to be replaced.")
        lines.append(f"{name} {restarts}")
        names = [field.name for field in dataclasses.fields(bodies.Model)]
        labels = ",".join(f'{key}="{_escape(getattr(model, key))}"' for key in names)
        name = "digit_edge_model_info"
        lines += [*_head(name, "gauge", "The artifact that answers."), f"{name}{{{labels}}} 1"]
        return "\n".join(lines) + "\n"


class Counting:
    """ASGI middleware that counts requests; a path that is not among `routes` counts as "other"."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, routes: frozenset[str]) -> None:
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count it with the status of its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight += 1
        try:
            await self._app(scope, receive, send_counted)
        finally:
            self._metrics.in_flight -= 1
            path = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.count_request(path, status, time.perf_counter() - start)


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _resident_bytes(process: int | str) -> int:
    """Return the resident size of a process; 0 if the system does not tell."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
