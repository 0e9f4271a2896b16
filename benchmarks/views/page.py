"""A report as one self-contained HTML page: no script, no network, dark, light and on paper."""

import base64
import io
from html import escape

import numpy as np

from benchmarks import jobs, rows
from benchmarks.comparison import Answers, ParityResult
from benchmarks.parity_report import ParityReport
from benchmarks.report import Report
from benchmarks.timing import LatencyResult
from benchmarks.views import beside as beside_tables
from benchmarks.views import charts, device_tables, latency_tables, parity_tables, tables
from benchmarks.views.beside import Beside
from benchmarks.views.charts import Lane, Point
from benchmarks.views.formats import Table, nats, percent
from benchmarks.views.style import CSS

_ALONE = Beside()
_MOST_FLIPS = 200


def render(report: Report, beside: Beside = _ALONE) -> str:
    """The whole page, with what lies beside it."""
    parity, latency = report.parity, report.latency
    verdict = "passed" if report else "FAILED"
    failures = "".join(f"<li>{escape(why)}</li>" for why in report.failures)
    host = latency.host
    body = [
        "<h1>Benchmarks</h1>",
        f'<p class="lead">{escape(report.created[:10])} · {escape(host.cpu)}, {host.cores} cores · '
        f'<strong class="{verdict.lower()}">{verdict}</strong></p>',
        f'<ul class="failures">{failures}</ul>' if failures else "",
        _table(tables.summary(parity, latency)),
        _table(device_tables.side_by_side(latency, report.device)),
        _latency_plot(report),
        _scatters(report),
        _table(latency_tables.files_table(latency)),
        _table(latency_tables.limit_table(parity, latency)),
        _table(latency_tables.commands_table(latency)),
        _table(latency_tables.arrays_table(latency)),
        _table(latency_tables.many_files_table(latency)),
        _table(latency_tables.programs_table(latency)),
        _table(parity_tables.parity_table(parity)),
        _table(parity_tables.scores_table(parity)),
        *map(_table, parity_tables.device_tables(parity)),
        *map(_table, parity_tables.device_flips(parity, _MOST_FLIPS)),
        _flips(parity),
        _confusions(parity),
        _reliabilities(parity),
        *map(_table, parity_tables.explanation_tables(parity.explanations)),
        _table(beside_tables.robustness_table(beside.robustness)),
        beside_tables.robustness_curves(beside.robustness),
        _table(beside_tables.rejection_table(beside.rejection)),
        _table(latency_tables.latency_table(latency)),
        _table(latency_tables.starts_table(latency)),
        _table(latency_tables.invalid_table(latency)),
        _table(tables.unmeasured_table(parity.unmeasured + latency.unmeasured)),
        _table(tables.host_table(latency)),
        _table(tables.sources_table(latency, beside)),
        *map(_table, device_tables.details(report.device, parity.device_unmeasured)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Benchmarks, {escape(report.created[:10])}</title>"
        f"<style>\n{CSS}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _table(table: Table) -> str:
    if not table.lines:
        return ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    lines = "".join(
        "<tr>" + "".join(_cell(cell) for cell in line) + "</tr>\n" for line in table.lines
    )
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    kind = ' class="reasons"' if table.header[-1] == "why" else ""
    return (
        f'<section><h2>{escape(table.title)}</h2><div class="wide"><table{kind}>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{lines}</tbody></table></div>{note}</section>"
    )


def _cell(text: str) -> str:
    word = text.split(",")[0].split(" ")[0]
    kinds = {"PASS": "passed", "FAIL": "failed", "FAILED": "failed", "ABSENT": "absent"}
    kind = kinds.get(word, "failed" if word == "ALARM:" else "")
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _name(result: ParityResult | LatencyResult) -> str:
    return f"{result.row.artefact} · {result.row.backend}"


def _singles(report: Report) -> list[LatencyResult]:
    return [
        result
        for result in report.latency.results
        if result.scenario == jobs.SINGLE
        and (result.row.threads == 1 or result.row.artefact == rows.REFERENCE)
    ]


def _latency_plot(report: Report) -> str:
    singles = _singles(report)
    if not singles:
        return ""
    lanes = [Lane(_name(r), tuple(s for run in r.runs for s in run.samples_ns)) for r in singles]
    return (
        "<section><h2>Latency of one image</h2>"
        f'<div class="wide">{charts.latencies(lanes)}</div>'
        "<p>Logarithmic; the height is the square root of the number of calls. Tall mark: median, "
        "short mark: 99th percentile.</p></section>"
    )


def _scatters(report: Report) -> str:
    sizes, times = [], []
    for result in report.parity.results:
        answers, name = result.candidate, _name(result)
        low, high = answers.accuracy_interval
        if result.row.artefact not in {point.name for point in sizes}:
            kilobytes = result.size_bytes / 1e3
            sizes.append(Point(result.row.artefact, kilobytes, answers.accuracy, low, high))
        single = report.latency.find(result.row, jobs.SINGLE)
        if single:
            times.append(Point(name, single.p50_ns / 1e3, answers.accuracy, low, high))
    plots = [
        charts.scatter(points, title, unit)
        for points, title, unit in (
            (sizes, "Accuracy against size", "KB of the file"),
            (times, "Accuracy against latency", "µs for one image, median"),
        )
        if points
    ]
    if not plots:
        return ""
    return (
        "<section><h2>Accuracy against size and latency</h2>"
        f'<div class="row">{"".join(plots)}</div>'
        "<p>Accuracy in %, with its 95 % interval.</p></section>"
    )


def _flips(parity: ParityReport) -> str:
    if not parity.results:
        return ""
    pictures = {picture.index: _data_uri(picture.pixels) for picture in parity.pictures}
    parts = ["<section><h2>Answers that differ from the original's</h2>"]
    names = parity.class_names
    for result in parity.results:
        parts.append(f"<h3>{escape(_name(result))}: {len(result.flips)} of {result.n:,}</h3>")
        cards = []
        for flip in result.flips[:_MOST_FLIPS]:
            image = pictures.get(flip.index)
            picture = f'<img src="{image}" alt="test image {flip.index}">' if image else ""
            sure = ' class="alarm"' if flip in result.alarms else ""
            cards.append(
                f"<figure{sure}>{picture}<figcaption>#{flip.index} is {escape(names[flip.label])}"
                f"<br>{escape(names[flip.original])} → {escape(names[flip.answer])}"
                f"<br>margin {flip.margin:.2f}</figcaption></figure>"
            )
        if cards:
            parts.append(f'<div class="flips">{"".join(cards)}</div>')
        if len(result.flips) > _MOST_FLIPS:
            parts.append(f"<p>and {len(result.flips) - _MOST_FLIPS} more in report.json</p>")
    parts.append(
        "<p>The true class; the original's answer → the artefact's; how far the original's first "
        "answer stood above its second. A framed one is an alarm: the original was sure.</p>"
    )
    return "".join(parts) + "</section>"


def _data_uri(pixels: tuple[int, ...]) -> str:
    from PIL import Image

    side = int(len(pixels) ** 0.5)
    buffer = io.BytesIO()
    picture = np.array(pixels, np.uint8).reshape(side, side)
    Image.fromarray(255 - picture).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _models(parity: ParityReport) -> list[tuple[str, Answers]]:
    originals = [(f"{parity.reference.artefact} · keras", parity.original)]
    return originals + [(_name(result), result.candidate) for result in parity.results]


def _confusions(parity: ParityReport) -> str:
    matrices = "".join(
        f"<details{' open' if number == 0 else ''}><summary>{escape(name)}</summary>"
        f'<div class="wide">{_confusion(answers, parity.class_names)}</div></details>'
        for number, (name, answers) in enumerate(_models(parity))
    )
    return (
        "<section><h2>Confusion</h2><p>A row a true class, a column an answer.</p>"
        f"{matrices}</section>"
    )


def _confusion(answers: Answers, names: tuple[str, ...]) -> str:
    counts = np.array(answers.confusion)
    mistakes = counts - np.diag(np.diag(counts))
    most = max(1, int(mistakes.max()))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for true, line in enumerate(counts):
        cells = []
        for answer, count in enumerate(line):
            kind = "right" if true == answer else "wrong"
            share = 100 if true == answer else round(100 * count / most)
            text = str(count) if count else "·"
            cells.append(f'<td class="{kind}" style="--share:{share}%">{text}</td>')
        lines.append(f"<tr><th>{escape(names[true])}</th>{''.join(cells)}</tr>")
    return f'<table class="confusion"><tr><th></th>{head}</tr>{"".join(lines)}</table>'


def _reliabilities(parity: ParityReport) -> str:
    figures = "".join(
        f"<figure>{charts.reliability(answers.reliability, name)}<figcaption>{escape(name)}<br>"
        f"calibration error {percent(answers.calibration_error)}<br>"
        f"negative log-likelihood {nats(answers.negative_log_likelihood)}</figcaption></figure>"
        for name, answers in _models(parity)
    )
    return (
        f'<section><h2>Reliability</h2><div class="row">{figures}</div><p>How sure (across, %) '
        f"against how often right (up, %), in {len(parity.original.reliability)} bins; the area "
        "grows with the number of answers.</p></section>"
    )
