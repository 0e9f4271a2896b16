"""The README's table is the report's, and a drift is seen."""

import dataclasses

import pytest

from benchmarks import readme
from benchmarks.harness.serialize import to_json
from benchmarks.readme import END, START
from benchmarks.report import summary_tables, terminal, write
from benchmarks.schema import report
from runtime.errors import EdgeError


@pytest.fixture
def made(timings, request):
    return report.make(request.getfixturevalue("report"), timings)


@pytest.fixture
def typed(made, tmp_path) -> list[str]:
    """The options that name a report and a README with an empty place for it."""
    write.write(made, tmp_path / "results")
    text = f"# Title\n\nbefore\n\n{START}\n{END}\n\nafter | it\n"
    (tmp_path / "README.md").write_text(text)
    file = tmp_path / "results" / write.JSON_NAME
    return ["--report", str(file), "--readme", str(tmp_path / "README.md")]


def test_the_table_is_the_reports(made, typed, tmp_path) -> None:
    assert readme.main([*typed, "--check"]) == 3
    assert readme.main(typed) == 0
    assert readme.main([*typed, "--check"]) == 0
    text = (tmp_path / "README.md").read_text("utf-8")
    assert text.startswith(f"# Title\n\nbefore\n\n{START}\n\n| artifact | engine | accuracy |")
    assert text.endswith(f"{END}\n\nafter | it\n")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    summary = summary_tables.summary(made.parity, made.latency)
    assert len(rows) == 2 + len(summary.lines)
    for row, line in zip(rows[2:], summary.lines, strict=True):
        wanted = dict(zip(summary.header, line, strict=True))
        assert dict(zip(rows[0], row, strict=True)).items() <= wanted.items()
    assert "(results/report.md)" in text
    assert made.latency.host.cpu in text
    assert made.created[:10] in text
    assert "--min-count 24" in text
    assert f"(Keras: {made.latency.host.cores})" in text
    assert f"factor of {made.latency.settings.max_drift:g}" in text


def test_a_failed_run_is_not_shown_as_a_good_one(made, typed, tmp_path) -> None:
    assert not made
    readme.main(typed)
    assert "This run FAILED" in (tmp_path / "README.md").read_text("utf-8")


def test_what_the_report_says_of_the_machine_is_one_line_of_plain_text(
    made, typed, tmp_path, capsys
) -> None:
    cpu = f"- a_b\n\n# c <script>d</script> | \x1b]0;e\x07 [f](http://g) `h` *i* _j_ {END}"
    host = dataclasses.replace(made.latency.host, cpu=cpu)
    changed = dataclasses.replace(made, latency=dataclasses.replace(made.latency, host=host))
    (tmp_path / "results" / write.JSON_NAME).write_text(to_json(changed))
    assert readme.main(typed) == 0
    assert readme.main([*typed, "--check"]) == 0
    assert (
        "\n\n\\- a_b \\# c &lt;script&gt;d&lt;/script&gt; \\| \\\\x1b\\]0;e\\\\x07 "
        "\\[f\\](http://g) \\`h\\` \\*i\\* \\_j\\_ &lt;!-- /results --&gt;, "
    ) in (tmp_path / "README.md").read_text("utf-8")
    terminal.print_report(changed)
    terminal.print_latency(changed.latency)
    assert "\x1b" not in capsys.readouterr().out


def test_another_figure_is_a_drift(made, typed, tmp_path, capsys) -> None:
    readme.main(typed)
    before = (tmp_path / "README.md").read_bytes()
    other = dataclasses.replace(made.parity, reference_bytes=made.parity.reference_bytes + 5000)
    changed = to_json(dataclasses.replace(made, parity=other))
    (tmp_path / "results" / write.JSON_NAME).write_text(changed)
    assert readme.main([*typed, "--check"]) == 3
    assert "run python -m benchmarks.readme" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_bytes() == before


@pytest.mark.parametrize("text", ["", START, END + START, START + END + END, START + START + END])
def test_a_readme_without_its_place_is_left_alone(typed, tmp_path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(EdgeError, match="once each"):
        readme.main(typed)
    assert (tmp_path / "README.md").read_text() == text


def test_an_absent_readme_and_an_absent_report_are_said(typed, tmp_path) -> None:
    with pytest.raises(EdgeError, match="gone.json"):
        readme.main(["--report", str(tmp_path / "gone.json")])
    with pytest.raises(EdgeError, match="gone.md"):
        readme.main([*typed[:2], "--readme", str(tmp_path / "gone.md")])
