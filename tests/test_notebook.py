"""main.ipynb: it is committed with its output, and still runs with the same output."""

import ast
import importlib.util
import os
import re
import shutil
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[1]
MAIN, OWN = ROOT / "main.ipynb", ROOT / "own_digits.ipynb"
MAX_WORDS = 1726  # of the text of main.ipynb: a lesson, not a book
PACKAGES = {"train", "export", "runtime", "benchmarks"}
# The last file that a notebook writes, below the folder that it runs in.
WRITTEN = {MAIN: Path("models/notebook/digits-int8.onnx"), OWN: Path("own_digits/digits.tflite")}
MAX_LINES = 25  # of a code cell: one screen
MAX_BYTES = 1_000_000  # of the notebook's file
# Text that differs between runs: the name of the data set, and all numbers.
VARYING = re.compile(r"MNIST|embedded digits|[+-]?\d[\d,.]*(e[+-]\d+)?")


@pytest.fixture(scope="module", params=[MAIN, OWN], ids=lambda path: path.name)
def notebook(request):
    """The path of a notebook."""
    return request.param


@pytest.fixture(scope="module")
def committed(notebook):
    return nbformat.read(notebook, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outline(cell) -> list[str]:
    """Return a cell's printed text without numbers, and the MIME types of its other output."""
    lines = []
    for output in cell.outputs:
        if output.output_type == "stream":
            lines.append(f"{output.name}: " + VARYING.sub("#", output.text))
        else:
            lines += sorted(output.data)
    return lines


def test_cells_were_run_in_order(committed):
    nbformat.validate(committed)
    cells = code(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_committed_output_is_of_mnist(notebook, committed):
    shown = {MAIN: "MNIST: 55,000 images to train on", OWN: "published on MNIST: "}
    assert shown[notebook] in str(code(committed))


def text_of(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_main_notebook_stays_short():
    assert len(text_of(MAIN).split()) <= MAX_WORDS


def test_exercises_have_folded_answers():
    """An answer is a <details> element: Jupyter and GitHub show its summary only."""
    for path, count in ((MAIN, 5), (OWN, 3)):
        answers = re.findall(
            r"<details><summary><b>(?:Exercise )?(\d)\.</b>.+?</summary>\n\n\S.+?\n</details>",
            text_of(path),
            re.S,
        )
        assert answers == [str(n) for n in range(1, count + 1)], path.name


def test_files_and_notebooks_that_the_text_links_to_exist():
    for path in (MAIN, OWN):
        for target in re.findall(r"\]\(([^)#]+)\)", text_of(path)):
            assert (ROOT / target).exists(), target


def test_committed_output_has_no_errors(committed):
    for cell in code(committed):
        assert all(output.output_type in ("stream", "display_data", "execute_result")
                   for output in cell.outputs)  # fmt: skip
        assert "stderr" not in [output.get("name") for output in cell.outputs]


def test_no_code_cell_is_longer_than_a_screen(committed):
    for cell in code(committed):
        assert len(cell.source.splitlines()) <= MAX_LINES, cell.source


def test_text_precedes_and_follows_the_code_cells(committed):
    kinds = [cell.cell_type for cell in committed.cells]
    assert kinds[0] == "markdown"
    assert kinds[-1] == "markdown"
    assert "code code code" not in " ".join(kinds)


def test_notebook_is_smaller_than_1_mb(notebook):
    assert notebook.stat().st_size < MAX_BYTES


def test_notebook_has_no_local_paths(committed):
    for cell in committed.cells:
        texts = [cell.source, *map(str, cell.get("outputs", []))]
        for text in texts:
            text = re.sub(r"'image/png': '[^']*'", "", text)
            assert not re.search(r"/(home|root|tmp|work|Users|usr)/|[A-Z]:\\", text), text


def test_cells_import_only_this_project_and_numpy(committed):
    """The notebook calls the packages, and does not reimplement them with other libraries."""
    for cell in code(committed):
        for node in ast.walk(ast.parse(cell.source.replace("%", "#", 1))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            for name in names:
                assert name.partition(".")[0] in PACKAGES | {"numpy", "pathlib"}, cell.source


def test_run_on_the_embedded_digits_gives_the_committed_output(notebook, committed, tmp_path):
    """Numbers and images aside, which shows that no cell was edited after it ran."""
    nbclient = pytest.importorskip("nbclient")
    for package in ("tensorflow", "ipykernel"):
        if importlib.util.find_spec(package) is None:
            pytest.skip('the notebook needs pip install "digit-edge[notebook]"')
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
    assert {path.name for path in (tmp_path / WRITTEN[notebook].parent).iterdir()} >= {
        "digits.keras", "digits.tflite"
    }  # fmt: skip
    assert (tmp_path / WRITTEN[notebook]).is_file()
