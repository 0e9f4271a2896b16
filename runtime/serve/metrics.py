"""Metrics of the server in Prometheus's text format, for GET /metrics.

`runtime.serve.app` uses this module. `Counting` is ASGI middleware that counts requests in a
`ServerMetrics`. https://prometheus.io/docs/instrumenting/exposition_formats/ describes the format.
"""

import bisect
import dataclasses
import os
import platform
import threading
import time
from collections import Counter
from pathlib import Path

from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.serve import bodies

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # of Prometheus's text format

# Upper bounds of the histograms' buckets, inclusive. A larger value counts in the bucket +Inf.
_DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CONFIDENCE_BUCKETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)


class Histogram:
    """A Prometheus histogram.

    Args:
        buckets: upper bounds of the buckets, inclusive, in ascending order.

    Attributes:
        counts: number of values in each bucket; the last bucket is that of +Inf.
        sum: sum of all values.
    """

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect.bisect_left(self._buckets, value)] += 1
        self.sum += value

    def lines(self, name: str, labels: str = "") -> list[str]:
        """Return the time series of the histogram, one line each.

        Args:
            name: name of the metric.
            labels: labels that are added to each line, such as `path="/"`; empty for none.
        """
        lines, total = [], 0
        for bound, count in zip((*self._buckets, "+Inf"), self.counts, strict=True):
            total += count
            inner = ",".join(part for part in (labels, f'le="{bound}"') if part)
            lines.append(f"{name}_bucket{{{inner}}} {total}")
        braces = f"{{{labels}}}" if labels else ""
        return [*lines, f"{name}_sum{braces} {self.sum:.9g}", f"{name}_count{braces} {total}"]


class ServerMetrics:
    """The server's counters; its methods may be called from any thread.

    Args:
        version: version of digit-edge.

    Attributes:
        in_flight: number of requests that are being processed.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._answers: Counter[tuple[str, bool]] = Counter()
        self._durations: dict[str, Histogram] = {}
        self._inference = Histogram(_DURATION_BUCKETS_S)
        self._confidences = Histogram(_CONFIDENCE_BUCKETS)
        self.in_flight = 0

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request and its response.

        Args:
            path: a route, or "other". An arbitrary path of a client must not be passed, because
                each path is a time series of its own in Prometheus.
            status: the HTTP status of the response.
            seconds: duration from the request's headers to the end of the response.
        """
        with self._lock:
            self._requests[path, status] += 1
            self._durations.setdefault(path, Histogram(_DURATION_BUCKETS_S)).add(seconds)

    def count_answer(
        self, label: str, accepted: bool, confidence: float, seconds: float | None = None
    ) -> None:
        """Count one classified digit.

        Args:
            label: the predicted label.
            accepted: whether the prediction was accepted.
            confidence: the score of the label, 0 to 1.
            seconds: inference time in seconds; None if it was not measured.
        """
        with self._lock:
            self._answers[label, accepted] += 1
            self._confidences.add(confidence)
            if seconds is not None:
                self._inference.add(seconds)

    def text(self, model: bodies.Model, waiting: int, worker_pid: int | None, restarts: int) -> str:
        """Return all metrics in Prometheus's text format.

        Args:
            model: the open artifact; its fields become the labels of digit_edge_model_info.
            waiting: number of requests in the queue or in the worker process.
            worker_pid: process ID of the worker; None while the worker is being replaced.
            restarts: number of times that the worker was replaced.
        """
        with self._lock:
            lines = _head("digit_edge_requests_total", "counter", "Responses by path and status.")
            for (path, status), count in sorted(self._requests.items()):
                lines.append(
                    f'digit_edge_requests_total{{path="{path}",status="{status}"}} {count}'
                )
            name = "digit_edge_request_duration_seconds"
            lines += _head(name, "histogram", "Seconds per request.")
            for path, histogram in sorted(self._durations.items()):
                lines += histogram.lines(name, f'path="{path}"')
            name = "digit_edge_inference_duration_seconds"
            lines += _head(name, "histogram", "Seconds to classify a digit, except /v1/read.")
            lines += self._inference.lines(name)
            name = "digit_edge_answers_total"
            lines += _head(name, "counter", "Classified digits.")
            for (label, accepted), count in sorted(self._answers.items()):
                lines.append(
                    f'{name}{{label="{_escape(label)}",accepted="{str(accepted).lower()}"}} {count}'
                )
            name = "digit_edge_confidence"
            lines += _head(name, "histogram", "Confidences of the classified digits.")
            lines += self._confidences.lines(name)
            rejected = sum(count for (_, accepted), count in self._answers.items() if not accepted)
            rejected_share = rejected / (sum(self._answers.values()) or 1)
        for name, text, value in (
            (
                "digit_edge_rejected_share",
                "Share of the classified digits that were rejected, 0 before the first.",
                f"{rejected_share:.9g}",
            ),
            ("digit_edge_requests_in_flight", "Requests being processed.", self.in_flight),
            ("digit_edge_requests_waiting", "Requests queued or in the worker.", waiting),
            (
                "process_resident_memory_bytes",
                "Resident memory, server.",
                _resident_bytes("self"),
            ),
            (
                "digit_edge_worker_resident_memory_bytes",
                "Resident memory, worker process.",
                0 if worker_pid is None else _resident_bytes(worker_pid),
            ),
        ):
            lines += [*_head(name, "gauge", text), f"{name} {value}"]
        name = "digit_edge_worker_restarts_total"
        lines += _head(name, "counter", "Replaced worker processes.")
        lines.append(f"{name} {restarts}")
        names = [field.name for field in dataclasses.fields(bodies.Model)]
        labels = ",".join(f'{key}="{_escape(getattr(model, key))}"' for key in names)
        name, build = "digit_edge_build_info", f'version="{_escape(self._version)}"'
        build += f',python="{platform.python_version()}"'
        lines += [*_head(name, "gauge", "The program."), f"{name}{{{build}}} 1"]
        name = "digit_edge_model_info"
        lines += [*_head(name, "gauge", "The open artifact."), f"{name}{{{labels}}} 1"]
        return "\n".join(lines) + "\n"


class Counting:
    """ASGI middleware that counts requests.

    Args:
        app: the application that responds.
        metrics: receives the counts.
        routes: paths that are counted separately, such as "/v2/models/{name}"; all other paths
            count as "other".
    """

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, routes: frozenset[str]) -> None:
        self._app, self._metrics, self._routes = app, metrics, routes
        self._patterns = [(compile_path(route)[0], route) for route in routes if "{" in route]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application; count it with its status and duration."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500  # if the application fails before its response

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
            route = self._route(scope["path"])
            self._metrics.count_request(route, status, time.perf_counter() - start)

    def _route(self, path: str) -> str:
        """Return the route of a path; "other" if there is none."""
        if path in self._routes:
            return path
        return next((route for pattern, route in self._patterns if pattern.match(path)), "other")


def _head(name: str, kind: str, text: str) -> list[str]:
    """Return the HELP and TYPE lines of a metric."""
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _escape(value: str) -> str:
    """Escape the value of a label."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _resident_bytes(process: int | str) -> int:
    """Return the resident memory of a process in bytes; 0 if /proc does not list the process."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
