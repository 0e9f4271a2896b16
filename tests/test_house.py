"""The house: who may import whom, lazy imports and imports for types included."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"train", "export", "runtime", "benchmarks", "deploy"}
HEAVY = {
    "tensorflow",
    "keras",
    "onnx",
    "tf2onnx",
    "sklearn",
    "scipy",
    "matplotlib",
    "onnxruntime",
    "jinja2",
}
ALLOWED = {
    "runtime": {"runtime"},
    "train": {"train", "runtime"},
    "export": {"export", "train", "runtime"},
    "benchmarks": {"benchmarks", "train", "runtime"},
    "deploy": {"deploy", "runtime"},
}
# The runtime's files and folders, from the bottom: each imports only from lines above its own.
RUNTIME_LAYERS = (
    ("errors", "engines", "pretrained"),
    ("system", "preprocess"),
    ("model",),
    ("backends",),
    ("lookalikes", "prediction", "tta"),
    ("multi_digit", "outputs"),
    ("classifier", "visualize"),
    ("__init__", "cli", "reload"),
    ("__main__", "read", "selftest", "serve", "signing", "watch"),
    ("camera", "update"),
)
# Third-party packages, besides NumPy and Pillow, that a part of the runtime may import.
OF_PARTS = {
    "runtime/backends": {"onnxruntime"},
    "runtime/serve": {"starlette", "uvicorn", "h11"},
    "runtime/serve/run.py": {"python_multipart"},
    "runtime/camera/preview_server.py": {"starlette", "uvicorn"},
    "runtime/camera/sources.py": {"cv2", "picamera2"},
    "runtime/outputs/mqtt.py": {"paho"},
    "runtime/signing.py": {"cryptography"},
}
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "tests" not in path.parts[len(ROOT.parts) :]
)
MAX_MODULES = 22  # of a folder; more hide what a newcomer looks for


def name_of(path: Path) -> str:
    """Return a module's dotted name; a package's own is that of its `__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


NAMES = {name_of(path): path for path in MODULES}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the dotted names that a module imports, and whether it does so when it is loaded.

    A name of this project is that of the module, not that of the function in it.
    """

    def visit(node: ast.AST, loading: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((module_of(alias.name), loading) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.module is not None and child.level == 0, "relative imports"
                for alias in child.names:
                    yield module_of(f"{child.module}.{alias.name}"), loading
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            inside = isinstance(child, (ast.FunctionDef, ast.Lambda)) or typing_only
            yield from visit(child, loading and not inside)

    yield from visit(ast.parse(path.read_text()), True)


def module_of(name: str) -> str:
    for candidate in (name, f"{name}.__init__", parent := name.rpartition(".")[0]):
        if candidate in NAMES:
            return candidate
    return f"{parent}.__init__" if f"{parent}.__init__" in NAMES else name


GRAPH = {
    name: {found for found, _ in imports(path) if found in NAMES and found != name}
    for name, path in NAMES.items()
}


def unit_of(name: str) -> str:
    """Return the file or folder of a package that a module belongs to."""
    return ".".join(name.split(".")[:2])


def a_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the nodes of one cycle; empty if there is none."""
    finished: set[str] = set()
    path: list[str] = []

    def search(node: str) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in finished:
            return []
        path.append(node)
        for following in sorted(graph[node]):
            if found := search(following):
                return found
        finished.add(path.pop())
        return []

    return next((found for node in sorted(graph) if (found := search(node))), [])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_what_its_package_may(path):
    place = path.relative_to(ROOT)
    package = place.parts[0]
    for dotted, loading in imports(path):
        name = dotted.split(".")[0]
        if name in PACKAGES:
            assert name in ALLOWED[package], f"{package} imports {name}"
        assert not (loading and name in HEAVY), f"{name} is imported when the module loads"
        if package == "runtime":
            known = {"runtime", "numpy", "PIL", "_sha2", "_sha256"}
            for part in (place.as_posix(), place.parent.as_posix()):
                known |= OF_PARTS.get(part, set())
            assert name in known or name in sys.stdlib_module_names, f"runtime imports {name}"
        if package == "benchmarks" and name in {"keras", "tensorflow"}:
            assert path.name == "keras_reference.py"


def test_no_modules_import_each_other_in_a_cycle():
    assert a_cycle(GRAPH) == []


def test_no_files_and_folders_of_a_package_import_each_other_in_a_cycle():
    units: dict[str, set[str]] = {}
    for name, found in GRAPH.items():
        own = units.setdefault(unit_of(name), set())
        own |= {unit_of(each) for each in found} - {unit_of(name)}
    assert a_cycle(units) == []


def test_the_runtime_imports_from_lower_layers_only():
    layers = {unit: number for number, units in enumerate(RUNTIME_LAYERS) for unit in units}
    units = {name.split(".")[1] for name in NAMES if name.startswith("runtime.")}
    assert units == set(layers)
    for name, found in GRAPH.items():
        package, unit, *_ = name.split(".")
        for other in (each.split(".")[1] for each in found if package == "runtime"):
            assert other == unit or layers[other] < layers[unit], f"{name} imports {other}"


def test_no_module_imports_a_command():
    """The work of a command is in a module beside it; its `__main__` only reads the arguments."""
    assert [name for name, found in GRAPH.items() for each in found if "__main__" in each] == []


@pytest.mark.parametrize("graph", [{"a": {"b"}, "b": {"c"}, "c": {"b"}}])
def test_a_cycle_is_found(graph):
    assert a_cycle(graph) == ["b", "c", "b"]


def test_no_folder_hides_its_modules_among_too_many():
    folders = {path.parent for path in MODULES}
    crowded = {str(f): n for f in folders if (n := len(list(f.glob("*.py")))) > MAX_MODULES}
    assert crowded == {}


def test_the_wheel_holds_every_folder_of_its_packages():
    text = (ROOT / "pyproject.toml").read_text().partition("packages = [")[2].partition("]")[0]
    listed = {line.strip(' ",') for line in text.splitlines()} - {""}
    wheel = {path.parent.relative_to(ROOT) for path in MODULES}
    folders = {".".join(folder.parts) for folder in wheel if folder.parts[0] != "deploy"}
    assert listed == folders
