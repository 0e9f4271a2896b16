"""The HTML pages of a report and of photographs: their markup, and their layout in a browser."""

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
from benchmarks.report.charts import Chart, Point
from benchmarks.schema import report
from benchmarks.schema.photos import PhotosReport

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
STYLE = Path(html_templates.__file__).parent / "templates" / "style.css"
VOID = {"meta", "img", "br"}  # elements without an end tag
A4_WIDTH_PX = 1032  # landscape, without the margins
MIN_CONTRAST = 4.5  # contrast ratio of text: WCAG 2.1, level AA
LATENCY_BINS = 160  # bins of a latency histogram


class Element:
    """An element of the page: its tag, attributes and parent, and all text inside it."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: "Element | None") -> None:
        self.tag, self.attributes, self.parent, self.text = tag, attributes, parent, ""

    def inside(self, css_class: str) -> bool:
        """Return whether an ancestor has the class."""
        element = self.parent
        while element and css_class not in element.attributes.get("class", "").split():
            element = element.parent
        return element is not None


class Page(html.parser.HTMLParser):
    """The elements of a page; an unclosed tag is an error."""

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
    """The published report; the first repetition of ONNX Runtime takes twice as long."""
    quiet = report.read(RESULTS / "report.json")
    cases = dict.fromkeys(result.case for result in quiet.latency.results)
    noisy = [case for case in cases if case.backend == "onnxruntime"]

    def disturbed(result):
        first, *others = result.runs
        slower = tuple(2 * sample for sample in first.samples_ns)
        return dataclasses.replace(
            result, runs=(dataclasses.replace(first, samples_ns=slower), *others)
        )

    results = tuple(
        disturbed(result) if result.case in noisy else result for result in quiet.latency.results
    )
    latency = dataclasses.replace(quiet.latency, results=results)
    return dataclasses.replace(quiet, latency=latency)


@pytest.fixture(scope="module")
def texts(published) -> dict[str, str]:
    """Return three pages by name: the published report, one with a device and flips, photos."""
    first, second, third, *others = published.parity.results
    flips = tuple(
        dataclasses.replace(third.flips[0], index=n, margin=m)
        for n, m in ((1393, 0.9), *((n, 0.1) for n in range(250)))
    )
    results = (first, second, dataclasses.replace(third, flips=flips), *others)
    parity = dataclasses.replace(published.parity, results=results, device_results=results)
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


def test_page_refers_only_to_embedded_images_and_its_own_ids(text) -> None:
    elements = Page(text).elements
    addresses = [
        e.attributes[name] for e in elements for name in ("src", "href") if name in e.attributes
    ]
    assert addresses
    assert all(a.startswith(("data:image/png", "#")) for a in addresses)
    assert "@import" not in text
    assert "url(" not in text
    assert "http" not in text


def test_page_has_no_scripts_and_no_embedded_documents(text) -> None:
    tags = {e.tag for e in Page(text).elements}
    assert tags.isdisjoint({"script", "link", "iframe", "object"})


def test_charts_contain_only_finite_coordinates(text) -> None:
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert not re.search(r"(?<![a-z])(nan|inf)(?![a-z.])", drawing)


def test_ids_are_unique_and_every_link_has_its_target(text) -> None:
    parsed = Page(text)
    ids = [e.attributes["id"] for e in parsed.elements if "id" in e.attributes]
    links = [e.attributes["href"].removeprefix("#") for e in parsed.find("a")]
    assert len(ids) == len(set(ids))
    assert links == ids


def test_report_has_one_table_of_contents(texts) -> None:
    assert len(Page(texts["report"]).find("nav")) == 1


def test_report_has_a_heading_for_each_table(texts) -> None:
    headings = [e.text for e in Page(texts["report"]).find("h3")]
    assert len(headings) > 20
    assert {"Summary", "Invalid timings", "Rejection"} <= {*headings}


def test_report_begins_with_its_main_results(texts) -> None:
    parsed = Page(texts["report"])
    (highlights,) = parsed.find("ul", **{"class": "highlights"})
    assert "6 of 6 cases within the tolerance" in highlights.text
    assert "Fastest on one thread: digits-int8.tflite in litert" in highlights.text
    assert re.search(r"INVALID timing of \d+ of 14 cases", highlights.text)


def test_details_are_folded(texts) -> None:
    folded = {e.text.strip() for e in Page(texts["report"]).find("summary")}
    assert {"Scores", "Confusion", "Reliability", "Roofline of one core", "Machine"} <= folded
    assert folded.isdisjoint({"Summary", "Parity", "Latency", "Invalid timings"})


def test_every_header_cell_has_text(text) -> None:
    assert all(e.text.strip() and e.attributes["scope"] for e in Page(text).find("th"))


def scroll_areas(page: Page) -> list[Element]:
    """Return the elements that scroll sideways on a narrow screen."""
    return [e for e in page.elements if e.attributes.get("class") == "scroll"]


def test_scroll_areas_can_be_focused_by_keyboard(text) -> None:
    areas = scroll_areas(Page(text))
    assert all(e.attributes["tabindex"] == "0" for e in areas)
    assert all(e.attributes["role"] == "region" for e in areas)


def test_scroll_areas_are_labeled(text) -> None:
    assert all(e.attributes["aria-label"] for e in scroll_areas(Page(text)))


def test_labels_of_scroll_areas_are_unique(text) -> None:
    labels = [e.attributes["aria-label"] for e in scroll_areas(Page(text))]
    assert len(labels) == len(set(labels))


def test_every_table_is_inside_a_scroll_area(text) -> None:
    assert all(table.inside("scroll") for table in Page(text).find("table"))


def test_images_have_an_alternative_text(text) -> None:
    assert all(e.attributes["alt"] for e in Page(text).find("img"))


def test_charts_have_a_title_and_a_description(text) -> None:
    parsed = Page(text)
    for drawing in parsed.find("svg"):
        if drawing.attributes.get("aria-hidden") != "true":
            assert drawing.attributes["role"] == "img"
            children = [e for e in parsed.elements if e.parent is drawing]
            assert [e.tag for e in children[:2]] == ["title", "desc"]
            assert children[0].text.strip()
            assert children[1].text.strip()


@pytest.fixture
def failed_page(published) -> Page:
    """Return the page of a report with a failed case and a confident flip."""
    results = list(published.parity.results)
    results[0] = dataclasses.replace(results[0], incompatibilities=("other labels",))
    flips = (dataclasses.replace(results[2].flips[0], margin=0.9),)
    results[2] = dataclasses.replace(results[2], flips=flips)
    parity = dataclasses.replace(published.parity, results=tuple(results))
    return Page(page.render(dataclasses.replace(published, parity=parity)))


@pytest.mark.parametrize(
    ("verdict", "css_class"),
    [
        ("PASS", "passed"),
        ("FAIL", "failed"),
        ("INVALID timing", "warning"),
        ("INVALID", "warning"),
        ("ALARM: 1 confident flip", "failed"),
    ],
)
def test_verdict_in_a_table_has_its_color(failed_page, verdict, css_class) -> None:
    colored = {
        (e.text, e.attributes["class"])
        for e in failed_page.find("span")
        if "class" in e.attributes and e.parent and e.parent.tag == "td"
    }
    assert (verdict, css_class) in colored


def test_verdict_of_a_failed_run_is_red(failed_page) -> None:
    (verdict,) = failed_page.find("strong")
    assert (verdict.text, verdict.attributes["class"]) == ("FAILED", "failed")


def test_cells_with_several_verdicts_keep_their_text(failed_page) -> None:
    cells = {e.text.strip() for e in failed_page.find("td")}
    assert {"PASS, INVALID timing", "FAIL"} <= cells


def test_same_report_gives_same_bytes(published, texts) -> None:
    assert page.render(published, related.read(RESULTS)) == texts["report"]


def test_class_names_are_escaped(published) -> None:
    names = ("<b>&", *published.parity.class_names[1:])
    parity = dataclasses.replace(published.parity, class_names=names)
    text = page.render(dataclasses.replace(published, parity=parity))
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;" in text


def test_columns_are_styled_by_their_content(texts) -> None:
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


def test_confident_flip_has_a_frame(texts) -> None:
    (framed,) = [e for e in Page(texts["device"]).find("figure") if e.attributes.get("class")]
    assert "#1393" in framed.text
    assert "margin 0.90" in framed.text


SAMPLES_NS = tuple(range(1000, 101_000, 1000))


@pytest.fixture
def latency_chart() -> Chart:
    return charts.latencies([("a · litert", SAMPLES_NS), ("b", (50_000,))])


def test_latency_chart_marks_median_and_p99(latency_chart) -> None:
    median_px, p99_px = (
        float(re.findall(r"M([\d.]+)", mark.path)[0])
        for mark in latency_chart.marks
        if mark.style.startswith("mark") and mark.path.split()[1].startswith("34.0")
    )
    ticks_px = {text: x_px for x_px, text in latency_chart.x_ticks}
    assert ticks_px["50 µs"] == pytest.approx(median_px, abs=2)
    assert median_px < p99_px <= ticks_px["100 µs"]


def test_latency_chart_names_each_histogram(latency_chart) -> None:
    assert [text for _, text in latency_chart.y_ticks] == ["a · litert", "b"]
    assert latency_chart.marks[0].tooltip == "a · litert: p50 50.5 µs, p99 99.0 µs"


def test_latency_chart_has_a_bar_per_bin_with_samples(latency_chart) -> None:
    axis = latency_chart.x
    edges = np.linspace(axis.low, axis.high, LATENCY_BINS + 1)
    counts, _ = np.histogram(np.log10(SAMPLES_NS), edges)
    assert latency_chart.marks[0].path.count("M") == np.count_nonzero(counts)


@pytest.fixture
def scatter_chart() -> Chart:
    """Return a chart of 30 points; two at a time have the same x."""
    points = [Point(f"model {n}", 100.0 + n // 2, 0.99, 0.98, 1.0) for n in range(30)]
    return charts.scatter(points, "Accuracy against size", "KB")


def test_scatter_numbers_every_point(scatter_chart) -> None:
    assert [text for _, _, text in scatter_chart.labels] == [str(n) for n in range(1, 31)]
    assert scatter_chart.caption[29] == "30 model 29"


def test_scatter_stacks_labels_of_close_points(scatter_chart) -> None:
    assert scatter_chart.labels[1][1] < scatter_chart.labels[0][1]


def _luminance(color: str) -> float:
    """Return the relative luminance of #rrggbb, as WCAG 2.1 defines it."""
    shares = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_contrast_is_sufficient_in_light_and_dark_mode_and_in_print() -> None:
    schemes = re.findall(r":root \{(.*?)\}", STYLE.read_text("utf-8"), re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        colors = dict(re.findall(r"--(\w+): (#\w+)", scheme))
        full = {
            k: v if len(v) == 7 else "#" + "".join(2 * c for c in v[1:]) for k, v in colors.items()
        }
        for background in ("page", "panel"):
            for ink in ("ink", "soft", "accent", "good", "bad", "warn"):
                light, dark = sorted(map(_luminance, (full[background], full[ink])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= MIN_CONTRAST, (scheme, background, ink)


@pytest.fixture
def open_page(texts, browser, tmp_path, request):
    """Return a function that opens a page by name, with a window width and a color scheme."""

    def open_in_browser(name: str, width: int, scheme: str = "light"):
        path = tmp_path / f"{name}.html"
        path.write_text(texts[name], "utf-8")
        opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        request.addfinalizer(opened.close)
        opened.goto(path.as_uri())
        return opened

    return open_in_browser


@pytest.mark.parametrize("name", ["report", "device", "photos"])
@pytest.mark.parametrize("width", [360, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_does_not_scroll_sideways(open_page, name, width, scheme) -> None:
    opened = open_page(name, width, scheme)
    assert opened.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("name", ["report", "device", "photos"])
def test_background_follows_the_color_scheme(open_page, name) -> None:
    script = "getComputedStyle(document.body).backgroundColor"
    light, dark = (open_page(name, 1280, scheme).evaluate(script) for scheme in ("light", "dark"))
    assert light != dark


@pytest.mark.parametrize("name", ["report", "photos"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_faults_of_accessibility(open_page, faults, name, width, scheme) -> None:
    opened = open_page(name, width, scheme)
    opened.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert faults(opened) == []


def test_keyboard_scrolls_a_table_on_a_phone(open_page) -> None:
    opened = open_page("report", 360)
    area = opened.get_by_role("region", name="Summary")
    for _ in range(100):
        opened.keyboard.press("Tab")
        if area.evaluate("area => area === document.activeElement"):
            break
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("() => document.activeElement.scrollLeft > 0")
    assert area.evaluate("area => area === document.activeElement")


def test_link_of_the_contents_unfolds_its_section(open_page) -> None:
    opened = open_page("report", 1280)
    table = opened.get_by_role("region", name="Roofline of one core")
    assert not table.is_visible()
    opened.get_by_role("navigation").get_by_role("link", name="Roofline of one core").click()
    heading = opened.get_by_role("heading", name="Roofline of one core").bounding_box()
    assert table.is_visible()
    assert 0 <= heading["y"] < 800


def test_contents_stay_in_view_beside_the_sections_on_a_wide_screen(open_page) -> None:
    opened = open_page("report", 1920)
    opened.get_by_role("navigation").get_by_role("link", name="Rejection").click()
    heading = opened.get_by_role("heading", name="Rejection").bounding_box()
    contents = opened.get_by_role("navigation").bounding_box()
    assert 0 <= contents["y"] < 800
    assert 0 <= heading["y"] < 800
    assert contents["x"] + contents["width"] < heading["x"]


@pytest.fixture(params=["light", "dark"])
def printed(open_page, request):
    """Return the report in print, on a screen in either color scheme."""
    opened = open_page("report", A4_WIDTH_PX, request.param)
    opened.emulate_media(media="print", color_scheme=request.param)
    return opened


def test_print_does_not_cut_off_tables(printed) -> None:
    boxes = printed.evaluate(
        "[...document.querySelectorAll('table')].map(table => {"
        " const box = table.getBoundingClientRect(); return [box.right, box.height]; })"
    )
    assert all(0 < right <= A4_WIDTH_PX and height > 40 for right, height in boxes)


def test_print_has_a_white_background_in_both_color_schemes(printed) -> None:
    background = printed.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"


def test_print_leaves_out_the_table_of_contents(printed) -> None:
    assert not printed.locator("nav").is_visible()


def test_print_unfolds_folded_tables(printed) -> None:
    assert printed.locator("details:not([open]) table").last.is_visible()


def test_report_prints_to_pdf(printed) -> None:
    assert printed.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_missing_jinja2_is_reported_before_anything_is_measured(tmp_path) -> None:
    (tmp_path / "manifest.csv").write_text("no columns")  # measuring would fail with this file
    program = (
        "import sys; sys.modules['jinja2'] = None; from benchmarks.photos.__main__ import main;"
        "from runtime.cli.exit_status import exit_status;"
        f"sys.argv[1:] = ['--data', {str(tmp_path)!r}];"
        "sys.exit(exit_status(main))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'error: jinja2 is not installed: pip install "digit-edge[train]"\n'
