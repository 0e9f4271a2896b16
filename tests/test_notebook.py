"""main.ipynb: committed as it ran, and it still runs."""

import ast
import importlib.util
import os
import re
import shutil
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "main.ipynb"
PACKAGES = {"train", "export", "runtime", "benchmarks"}
# A screen.
MAX_LINES = 25
MAX_BYTES = 1_000_000
# What the data set is called, and how much of it there is, differs from run to run.
VARYING = re.compile(r"MNIST|embedded digits|[+-]?\d[\d,.]*(e[+-]\d+)?")


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outline(cell) -> list[str]:
    """What a cell gave: its text without the figures, and of what kind its pictures are."""
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            found.append(f"{output.name}: " + VARYING.sub("#", output.text))
        else:
            found += sorted(output.data)
    return found


def test_it_is_committed_as_it_ran_from_top_to_bottom(committed):
    nbformat.validate(committed)
    cells = code(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert "MNIST: 55,000 images to train on" in str(cells)
    for cell in cells:
        assert all(output.output_type in ("stream", "display_data", "execute_result")
                   for output in cell.outputs)  # fmt: skip
        assert "stderr" not in [output.get("name") for output in cell.outputs]


def test_no_cell_is_longer_than_a_screen_and_prose_leads_to_each_section(committed):
    for cell in code(committed):
        assert len(cell.source.splitlines()) <= MAX_LINES, cell.source
    kinds = [cell.cell_type for cell in committed.cells]
    assert kinds[0] == "markdown"
    assert kinds[-1] == "markdown"
    assert "code code code" not in " ".join(kinds)


def test_it_shows_nothing_of_the_machine_and_stays_small(committed):
    assert NOTEBOOK.stat().st_size < MAX_BYTES
    for cell in committed.cells:
        texts = [cell.source, *map(str, cell.get("outputs", []))]
        for text in texts:
            text = re.sub(r"'image/png': '[^']*'", "", text)
            assert not re.search(r"/(home|root|tmp|work|Users|usr)/|[A-Z]:\\", text), text


def test_it_keeps_no_second_copy_of_what_the_packages_do(committed):
    """Cells import the packages, NumPy and what shows things; they build and train nothing."""
    for cell in code(committed):
        for node in ast.walk(ast.parse(cell.source.replace("%", "#", 1))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            for name in names:
                assert name.partition(".")[0] in PACKAGES | {"numpy", "pathlib"}, cell.source


def test_it_runs_from_top_to_bottom_on_the_embedded_digits(committed, tmp_path):
    """And gives what is committed, figures aside: no cell was edited after it ran."""
    nbclient = pytest.importorskip("nbclient")
    for package in ("tensorflow", "ipykernel"):
        if importlib.util.find_spec(package) is None:
            pytest.skip('it needs pip install "digit-edge[notebook]"')
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    fresh = nbformat.from_dict(committed)
    for cell in code(fresh):
        cell.outputs, cell.execution_count = [], None
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DIGIT_EDGE_DATA": "embedded",
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    client = nbclient.NotebookClient(
        fresh,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
        coalesce_streams=True,
        record_timing=False,
    )
    client.execute(env=environment)
    for cell, before in zip(code(fresh), code(committed), strict=True):
        assert outline(cell) == outline(before), cell.source
    models = sorted(path.name for path in (tmp_path / "models/notebook").iterdir())
    assert models == sorted(
        ["checkpoint.npz", "digits.keras", "digits.tflite", "digits-int8.tflite", "digits.onnx",
         "digits-int8.onnx"]
    )  # fmt: skip
