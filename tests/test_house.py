"""Test the structure of the repository: which module may import which, and folder sizes.

The rules also cover imports inside functions and imports for type annotations.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.engines import ENGINES

ROOT = Path(__file__).parents[1]
PACKAGES = {"train", "export", "runtime", "benchmarks", "deploy"}
# Slow to import: they may be imported only inside functions.
HEAVY = {
    "tensorflow",
    "keras",
    "onnx",
    "tf2onnx",
    "sklearn",
    "scipy",
    "matplotlib",
    "jinja2",
    *({engine.package for engine in ENGINES} - {"ctypes"}),
}
# Package → the packages of this repository that it may import.
ALLOWED = {
    "runtime": {"runtime"},
    "train": {"train", "runtime"},
    "export": {"export", "train", "runtime"},
    "benchmarks": {"benchmarks", "train", "runtime"},
    "deploy": {"deploy", "runtime"},
}
# Files and folders of the runtime, lowest layer first. Each may import only from the layers listed
# above its own.
RUNTIME_LAYERS = (
    ("errors", "engines", "pretrained"),
    ("system",),
    ("preprocess",),
    ("model",),
    ("backends",),
    ("lookalikes", "prediction", "tta"),
    ("multi_digit", "outputs"),
    ("classifier", "visualize"),
    ("__init__",),
    ("trial",),
    ("cli", "numbers", "reload"),
    ("__main__", "read", "selftest", "serve", "signing", "watch"),
    ("bulk", "camera", "update"),
)
# File or folder of the runtime → third-party packages that it may import besides NumPy and Pillow.
THIRD_PARTY = {
    "runtime/backends": {engine.package for engine in ENGINES},
    "runtime/bulk": {"pyarrow"},
    "runtime/bulk/on_ray.py": {"ray"},
    "runtime/cli/parser.py": {"argcomplete"},
    "runtime/serve": {"starlette", "uvicorn", "h11"},
    "runtime/serve/run.py": {"python_multipart"},
    "runtime/camera/preview_server.py": {"starlette", "uvicorn"},
    "runtime/camera/sources.py": {"cv2", "picamera2"},
    "runtime/outputs/mqtt.py": {"paho"},
    "runtime/signing.py": {"cryptography"},
}
# All modules of the packages, without tests.
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "tests" not in path.parts[len(ROOT.parts) :]
)
MAX_MODULES = 22  # in one folder; a newcomer cannot find a module among more


def name_of(path: Path) -> str:
    """Return the dotted name of a module; that of a package ends with `.__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


NAMES = {name_of(path): path for path in MODULES}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the modules that a module imports, and whether it imports them when it is loaded.

    `from runtime.errors import EdgeError` yields `runtime.errors`.
    """

    def visit(node: ast.AST, loading: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((module_of(alias.name), loading) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "relative imports are not allowed"
                assert child.module is not None
                for alias in child.names:
                    yield module_of(f"{child.module}.{alias.name}"), loading
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            inside = isinstance(child, (ast.FunctionDef, ast.Lambda)) or typing_only
            yield from visit(child, loading and not inside)

    yield from visit(ast.parse(path.read_text()), True)


def module_of(name: str) -> str:
    """Return the module that contains an imported name; other packages' names are unchanged."""
    for candidate in (name, f"{name}.__init__", parent := name.rpartition(".")[0]):
        if candidate in NAMES:
            return candidate
    return f"{parent}.__init__" if f"{parent}.__init__" in NAMES else name


# Module → the modules of this repository that it imports.
GRAPH = {
    name: {imported for imported, _ in imports(path) if imported in NAMES and imported != name}
    for name, path in NAMES.items()
}


def unit_of(name: str) -> str:
    """Return the file or folder, directly in its package, that a module belongs to."""
    return ".".join(name.split(".")[:2])


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
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
            if cycle := search(following):
                return cycle
        finished.add(path.pop())
        return []

    return next((cycle for node in sorted(graph) if (cycle := search(node))), [])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_imports_only_what_its_package_may(path):
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
                known |= THIRD_PARTY.get(part, set())
            assert name in known or name in sys.stdlib_module_names, f"runtime imports {name}"
        if package == "benchmarks" and name in {"keras", "tensorflow"}:
            assert path.name == "keras_reference.py"


def test_imports_between_modules_have_no_cycle():
    assert find_cycle(GRAPH) == []


def test_imports_between_files_and_folders_of_a_package_have_no_cycle():
    units: dict[str, set[str]] = {}
    for name, imported in GRAPH.items():
        own = units.setdefault(unit_of(name), set())
        own |= {unit_of(module) for module in imported} - {unit_of(name)}
    assert find_cycle(units) == []


def test_runtime_imports_only_from_lower_layers():
    layers = {unit: number for number, units in enumerate(RUNTIME_LAYERS) for unit in units}
    units = {name.split(".")[1] for name in NAMES if name.startswith("runtime.")}
    assert units == set(layers)
    for name, imported in GRAPH.items():
        package, unit, *_ = name.split(".")
        for other in (module.split(".")[1] for module in imported if package == "runtime"):
            assert other == unit or layers[other] < layers[unit], f"{name} imports {other}"


def test_no_module_imports_a_main_module():
    """A `__main__` contains only argument parsing; the work is in a module beside it."""
    assert [name for name, names in GRAPH.items() if any("__main__" in n for n in names)] == []


@pytest.mark.parametrize("graph", [{"a": {"b"}, "b": {"c"}, "c": {"b"}}])
def test_find_cycle_returns_the_nodes_of_one_cycle(graph):
    assert find_cycle(graph) == ["b", "c", "b"]


def test_no_folder_has_too_many_modules():
    folders = {path.parent for path in MODULES}
    crowded = {str(f): n for f in folders if (n := len(list(f.glob("*.py")))) > MAX_MODULES}
    assert crowded == {}


def test_wheel_contains_every_folder_of_its_packages():
    text = (ROOT / "pyproject.toml").read_text().partition("packages = [")[2].partition("]")[0]
    listed = {line.strip(' ",') for line in text.splitlines()} - {""}
    wheel = {path.parent.relative_to(ROOT) for path in MODULES}
    folders = {".".join(folder.parts) for folder in wheel if folder.parts[0] != "deploy"}
    assert listed == folders | {"digit_edge"}  # whose files are in deploy/wheel
