"""The pages of a report and of photographs: rules in the HTML, and in a real browser."""

import dataclasses
import html.parser
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.serialize import from_json
from benchmarks.photos import report as photos
from benchmarks.report import charts, html_templates, related
from benchmarks.report import html as page
from benchmarks.report.charts import Point
from benchmarks.schema import report
from benchmarks.schema.photos import PhotosReport

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
STYLE = Path(html_templates.__file__).parent / "templates" / "style.css"
VOID = {"meta", "img", "br"}
A4_WIDTH_PX = 1032  # landscape, without its margins
WCAG_AA = 4.5  # contrast of text


class Element:
    """A tag, its attributes, its parent, and all text inside."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: "Element | None") -> None:
        self.tag, self.attributes, self.parent, self.text = tag, attributes, parent, ""

    def inside(self, css_class: str) -> bool:
        """Whether an element around this one has the class."""
        element = self.parent
        while element and css_class not in element.attributes.get("class", "").split():
            element = element.parent
        return element is not None


class Page(html.parser.HTMLParser):
    """Lists the elements of a page; fails unless every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: Element | None = None
        self.elements: list[Element] = []
        self.feed(text)
        assert self.open is None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attributes}, self.open)
        self.elements.append(element)
        if tag not in VOID:
            self.open = element

    def handle_endtag(self, tag: str) -> None:
        assert self.open is not None
        assert self.open.tag == tag
        self.open = self.open.parent

    def handle_data(self, data: str) -> None:
        element = self.open
        while element:
            element.text += data
            element = element.parent

    def find(self, tag: str, **attributes: str) -> list[Element]:
        return [
            element
            for element in self.elements
            if element.tag == tag and attributes.items() <= element.attributes.items()
        ]


@pytest.fixture(scope="module")
def published():
    return report.read(RESULTS / "report.json")


@pytest.fixture(scope="module")
def texts(published) -> dict[str, str]:
    """Pages by name: the published reports, one with a device and flips, one of photographs."""
    first = published.parity.results[2]
    flips = tuple(
        dataclasses.replace(first.flips[0], index=n, margin=m)
        for n, m in ((1393, 0.9), *((n, 0.1) for n in range(250)))
    )
    results = (dataclasses.replace(first, flips=flips), *published.parity.results[1:])
    parity = dataclasses.replace(published.parity, results=results, device_results=results * 2)
    device = dataclasses.replace(published, parity=parity, device=published.latency)
    photo_report = from_json(PhotosReport, (RESULTS / "photos.json").read_bytes(), "photos.json")
    return {
        "report": page.render(published, related.read(RESULTS)),
        "device": page.render(device),
        "photos": photos.render_sheet(photo_report),
    }


@pytest.fixture(params=["report", "device", "photos"])
def text(texts, request) -> str:
    return texts[request.param]


def test_page_is_one_file_without_scripts(text) -> None:
    elements = Page(text).elements
    addresses = [
        e.attributes[name] for e in elements for name in ("src", "href") if name in e.attributes
    ]
    assert addresses
    assert all(a.startswith(("data:image/png", "#")) for a in addresses)
    assert {e.tag for e in elements}.isdisjoint({"script", "link", "iframe", "object"})
    assert "@import" not in text
    assert "url(" not in text
    assert "http" not in text
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert not re.search(r"(?<![a-z])(nan|inf)(?![a-z.])", drawing)


def test_ids_are_unique_and_every_link_has_its_target(texts) -> None:
    for text in texts.values():
        parsed = Page(text)
        ids = [e.attributes["id"] for e in parsed.elements if "id" in e.attributes]
        links = [e.attributes["href"].removeprefix("#") for e in parsed.find("a")]
        assert len(ids) == len(set(ids))
        assert links == ids
    assert len(Page(texts["report"]).find("nav")) == 1
    headings = [e.text for e in Page(texts["report"]).find("h3")]
    assert len(headings) > 20
    assert {"Summary", "Invalid timings", "Rejection"} <= {*headings}


def test_every_header_cell_has_text(text) -> None:
    assert all(e.text.strip() and e.attributes["scope"] for e in Page(text).find("th"))


def test_scroll_areas_have_a_name_and_take_the_focus(texts) -> None:
    for name, text in texts.items():
        parsed = Page(text)
        areas = [e for e in parsed.elements if e.attributes.get("class") == "scroll"]
        assert all(e.attributes["tabindex"] == "0" for e in areas)
        assert all(e.attributes["role"] == "region" for e in areas)
        names = [e.attributes["aria-label"] for e in areas]
        assert all(names)
        assert name == "device" or len(names) == len(set(names))
        assert all(table.inside("scroll") for table in parsed.find("table"))


def test_images_and_charts_have_a_text(text) -> None:
    parsed = Page(text)
    assert all(e.attributes["alt"] for e in parsed.find("img"))
    for drawing in parsed.find("svg"):
        if drawing.attributes.get("aria-hidden") != "true":
            assert drawing.attributes["role"] == "img"
            inside = [e for e in parsed.elements if e.parent is drawing]
            assert [e.tag for e in inside[:2]] == ["title", "desc"]
            assert inside[0].text.strip()
            assert inside[1].text.strip()


def test_verdicts_have_the_color_of_their_word(published) -> None:
    results = list(published.parity.results)
    results[0] = dataclasses.replace(results[0], incompatibilities=("other labels",))
    flips = tuple(dataclasses.replace(f, margin=0.9) for f in results[2].flips)
    results[2] = dataclasses.replace(results[2], flips=flips)
    parity = dataclasses.replace(published.parity, results=tuple(results))
    parsed = Page(page.render(dataclasses.replace(published, parity=parity)))
    found = {
        (e.text, e.attributes["class"])
        for e in parsed.find("span")
        if "class" in e.attributes and e.parent and e.parent.tag == "td"
    }
    assert ("PASS", "passed") in found
    assert ("FAIL", "failed") in found
    assert ("INVALID timing", "warning") in found
    assert ("INVALID", "warning") in found
    assert ("ALARM: 1 confident flips", "failed") in found
    (verdict,) = parsed.find("strong")
    assert (verdict.text, verdict.attributes["class"]) == ("FAILED", "failed")
    cells = {e.text for e in parsed.find("td")}
    assert {"PASS, INVALID timing", "FAIL"} <= {cell.strip() for cell in cells}


def test_same_report_gives_same_bytes(published, texts) -> None:
    assert page.render(published, related.read(RESULTS)) == texts["report"]


def test_names_are_escaped(published) -> None:
    names = ("<b>&", *published.parity.class_names[1:])
    parity = dataclasses.replace(published.parity, class_names=names)
    text = page.render(dataclasses.replace(published, parity=parity))
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;" in text


def test_figures_are_right_aligned_and_texts_wrap(texts) -> None:
    cells = {
        e.text.strip(): e.attributes["class"]
        for e in Page(texts["report"]).find("th")
        if e.attributes["scope"] == "col" and "class" in e.attributes
    }
    assert cells["p50"] == cells["images/s"] == "number"
    assert cells["verdict"] == "text"
    assert cells["why"] == "prose"


def test_flips_beyond_the_limit_are_counted(texts) -> None:
    assert "and 51 more in report.json" in texts["device"]
    (framed,) = [e for e in Page(texts["device"]).find("figure") if e.attributes.get("class")]
    assert "#1393" in framed.text
    assert "margin 0.90" in framed.text


def test_lines_of_a_latency_chart_mark_median_and_p99() -> None:
    samples = tuple(range(1000, 101_000, 1000))
    chart = charts.latencies([("a · litert", samples), ("b", (50_000,))])
    median, p99 = (
        float(re.findall(r"M([\d.]+)", mark.path)[0])
        for mark in chart.marks
        if mark.style.startswith("mark") and mark.path.split()[1].startswith("34.0")
    )
    ticks = {text: at for at, text in chart.x_ticks}
    assert ticks["50 µs"] == pytest.approx(median, abs=2)
    assert median < p99 <= ticks["100 µs"]
    assert [text for _, text in chart.y_ticks] == ["a · litert", "b"]
    assert chart.marks[0].tooltip == "a · litert: p50 50.5 µs, p99 99.0 µs"
    assert chart.marks[0].path.count("M") == np.count_nonzero(
        np.histogram(np.log10(samples), np.linspace(chart.x.low, chart.x.high, 161))[0]
    )


def test_scatter_numbers_every_point_and_stacks_close_labels() -> None:
    points = [Point(f"model {n}", 100.0 + n // 2, 0.99, 0.98, 1.0) for n in range(30)]
    chart = charts.scatter(points, "Accuracy against size", "KB")
    assert [text for _, _, text in chart.labels] == [str(n) for n in range(1, 31)]
    assert chart.caption[29] == "30 model 29"
    assert chart.labels[1][1] < chart.labels[0][1]


def _luminance(color: str) -> float:
    """The relative luminance of #rrggbb: WCAG 2.1."""
    shares = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_contrast_is_sufficient_in_light_in_dark_and_on_paper() -> None:
    schemes = re.findall(r":root \{(.*?)\}", STYLE.read_text("utf-8"), re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        colors = dict(re.findall(r"--(\w+): (#\w+)", scheme))
        full = {
            k: v if len(v) == 7 else "#" + "".join(2 * c for c in v[1:]) for k, v in colors.items()
        }
        for ground in ("page", "panel"):
            for ink in ("ink", "soft", "accent", "good", "bad", "warn"):
                light, dark = sorted(map(_luminance, (full[ground], full[ink])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= WCAG_AA, (scheme, ground, ink)


@pytest.fixture
def shown(texts, browser, tmp_path, request):
    """Opens a page by its name, at a width, in a color scheme."""

    def show(name: str, width: int, scheme: str = "light"):
        path = tmp_path / f"{name}.html"
        path.write_text(texts[name], "utf-8")
        opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        request.addfinalizer(opened.close)
        opened.goto(path.as_uri())
        return opened

    return show


@pytest.mark.parametrize("name", ["report", "device", "photos"])
def test_page_does_not_scroll_sideways(shown, name) -> None:
    backgrounds = set()
    for width in (360, 1280, 1920):
        for scheme in ("light", "dark"):
            opened = shown(name, width, scheme)
            assert opened.evaluate("document.documentElement.scrollWidth") == width
            backgrounds.add(opened.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2


def test_keyboard_scrolls_a_table_on_a_phone(shown) -> None:
    opened = shown("report", 360)
    area = opened.get_by_role("region", name="Summary")
    for _ in range(100):
        opened.keyboard.press("Tab")
        if area.evaluate("area => area === document.activeElement"):
            break
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("() => document.activeElement.scrollLeft > 0")
    assert area.evaluate("area => area === document.activeElement")


def test_contents_stay_in_view_beside_the_sections_on_a_wide_screen(shown) -> None:
    opened = shown("report", 1920)
    opened.get_by_role("navigation").get_by_role("link", name="Rejection").click()
    heading = opened.get_by_role("heading", name="Rejection").bounding_box()
    contents = opened.get_by_role("navigation").bounding_box()
    assert 0 <= contents["y"] < 800
    assert 0 <= heading["y"] < 800
    assert contents["x"] + contents["width"] < heading["x"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_shows_every_table_whole(shown, scheme) -> None:
    opened = shown("report", A4_WIDTH_PX, scheme)
    opened.emulate_media(media="print", color_scheme=scheme)
    boxes = opened.evaluate(
        "[...document.querySelectorAll('table')].map(table => {"
        " const box = table.getBoundingClientRect(); return [box.right, box.height]; })"
    )
    assert all(0 < right <= A4_WIDTH_PX and height > 40 for right, height in boxes)
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert not opened.locator("nav").is_visible()
    # A confusion matrix and the invalid timings, which are folded on the screen.
    assert opened.locator("details:not([open]) table").last.is_visible()
    assert opened.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_missing_jinja2_is_reported_before_anything_is_measured(tmp_path) -> None:
    (tmp_path / "manifest.csv").write_text("no columns")  # would be the error of a measurement
    program = (
        "import sys; sys.modules['jinja2'] = None; from benchmarks.photos.__main__ import main;"
        "from runtime.cli.exit_status import exit_status;"
        f"sys.argv[1:] = ['--data', {str(tmp_path)!r}];"
        "sys.exit(exit_status(main))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'error: jinja2 is not installed: pip install "digit-edge[train]"\n'
