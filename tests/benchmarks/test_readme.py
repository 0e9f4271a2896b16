"""Tests that `benchmarks.readme` writes a report's table into the README and detects drift."""

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
def options(made, tmp_path) -> list[str]:
    """Return options that name a report and a README with an empty table."""
    write.write(made, tmp_path / "results")
    text = f"# Title\n\nbefore\n\n{START}\n{END}\n\nafter | it\n"
    (tmp_path / "README.md").write_text(text)
    file = tmp_path / "results" / write.JSON_NAME
    return ["--report", str(file), "--readme", str(tmp_path / "README.md")]


@pytest.fixture
def written(options, tmp_path) -> str:
    """Return the README after `benchmarks.readme` has written the table."""
    assert readme.main(options) == 0
    return (tmp_path / "README.md").read_text("utf-8")


def hostile_machine(made):
    """Return a report whose processor name contains markup, line breaks and escape codes."""
    cpu = f"- a_b\n\n# c <script>d</script> | \x1b]0;e\x07 [f](http://g) `h` *i* _j_ {END}"
    host = dataclasses.replace(made.latency.host, cpu=cpu)
    return dataclasses.replace(made, latency=dataclasses.replace(made.latency, host=host))


def test_check_fails_until_the_table_is_written(options) -> None:
    assert readme.main([*options, "--check"]) == 3
    assert readme.main(options) == 0
    assert readme.main([*options, "--check"]) == 0


def test_only_the_text_between_the_marks_changes(written) -> None:
    assert written.startswith(f"# Title\n\nbefore\n\n{START}\n\n| artifact | engine | accuracy |")
    assert written.endswith(f"{END}\n\nafter | it\n")


def test_table_equals_the_summary_of_the_report(made, written) -> None:
    rows = [line.strip("| ").split(" | ") for line in written.splitlines() if line.startswith("| ")]
    summary = summary_tables.summary(made.parity, made.latency)
    assert len(rows) == 2 + len(summary.lines)
    for row, line in zip(rows[2:], summary.lines, strict=True):
        expected = dict(zip(summary.header, line, strict=True))
        assert dict(zip(rows[0], row, strict=True)).items() <= expected.items()


def test_note_names_machine_date_settings_and_full_report(made, written) -> None:
    assert "(results/report.md)" in written
    assert made.latency.host.cpu in written
    assert made.created[:10] in written
    assert "--min-count 24" in written
    assert f"(Keras: {made.latency.host.cores})" in written
    assert f"factor of {made.latency.settings.max_drift:g}" in written


def test_failed_run_is_marked_as_failed(made, written) -> None:
    assert not made
    assert "This run FAILED" in written


def test_markup_in_the_machine_name_is_escaped(made, options, tmp_path) -> None:
    (tmp_path / "results" / write.JSON_NAME).write_text(to_json(hostile_machine(made)))
    assert readme.main(options) == 0
    assert readme.main([*options, "--check"]) == 0
    assert (
        "\n\n\\- a_b \\# c &lt;script&gt;d&lt;/script&gt; \\| \\\\x1b\\]0;e\\\\x07 "
        "\\[f\\](http://g) \\`h\\` \\*i\\* \\_j\\_ &lt;!-- /results --&gt;, "
    ) in (tmp_path / "README.md").read_text("utf-8")


def test_escape_codes_in_the_machine_name_are_not_printed(made, capsys) -> None:
    hostile = hostile_machine(made)
    terminal.print_report(hostile)
    terminal.print_latency(hostile.latency)
    assert "\x1b" not in capsys.readouterr().out


def test_check_detects_a_changed_figure_and_writes_nothing(made, options, tmp_path, capsys) -> None:
    readme.main(options)
    before = (tmp_path / "README.md").read_bytes()
    other = dataclasses.replace(made.parity, reference_bytes=made.parity.reference_bytes + 5000)
    changed = to_json(dataclasses.replace(made, parity=other))
    (tmp_path / "results" / write.JSON_NAME).write_text(changed)
    assert readme.main([*options, "--check"]) == 3
    assert "run python -m benchmarks.readme" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_bytes() == before


@pytest.mark.parametrize("text", ["", START, END + START, START + END + END, START + START + END])
def test_readme_without_both_marks_is_not_changed(options, tmp_path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(EdgeError, match="once each"):
        readme.main(options)
    assert (tmp_path / "README.md").read_text() == text


def test_missing_report_is_named(tmp_path) -> None:
    with pytest.raises(EdgeError, match=r"gone\.json"):
        readme.main(["--report", str(tmp_path / "gone.json")])


def test_missing_readme_is_named(options, tmp_path) -> None:
    with pytest.raises(EdgeError, match=r"gone\.md"):
        readme.main([*options[:2], "--readme", str(tmp_path / "gone.md")])
