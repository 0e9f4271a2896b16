"""Who may import whom."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"train", "export", "runtime", "benchmarks"}
HEAVY = {
    "tensorflow",
    "keras",
    "onnx",
    "tf2onnx",
    "sklearn",
    "scipy",
    "matplotlib",
    "jinja2",
    "onnxruntime",
}
ALLOWED = {
    "runtime": {"runtime"},
    "train": {"train", "runtime"},
    "export": {"export", "train", "runtime"},
    "benchmarks": {"benchmarks", "train", "runtime"},
}
# What parts of the runtime import besides the standard library, NumPy and Pillow.
OF_PARTS = {
    "runtime/backends": {"onnxruntime"},
    "runtime/server": {"starlette", "uvicorn", "h11"},
    "runtime/serve/run.py": {"python_multipart"},
    "runtime/camera/preview_server.py": {"starlette"},
    "runtime/camera/sources.py": {"cv2", "picamera2"},
    "runtime/outputs/mqtt.py": {"paho"},
    "runtime/signing.py": {"cryptography"},
}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> list[tuple[str, bool]]:
    """The top-level names a module imports, and whether it does so when it is loaded."""
    found = []

    def visit(node: ast.AST, loading: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name.split(".")[0], loading) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                found.append((child.module.split(".")[0], loading))
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            inside = isinstance(child, (ast.FunctionDef, ast.Lambda)) or typing_only
            visit(child, loading and not inside)

    visit(ast.parse(path.read_text()), True)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_what_its_package_may(path):
    package = path.relative_to(ROOT).parts[0]
    for name, loading in imports(path):
        if name in PACKAGES:
            assert name in ALLOWED[package], f"{package} imports {name}"
        assert not (loading and name in HEAVY), f"{name} is imported when the module loads"
        if package == "runtime":
            place = path.relative_to(ROOT)
            known = {"runtime", "numpy", "PIL", "_sha2", "_sha256"}
            for part in (place.as_posix(), place.parent.as_posix()):
                known |= OF_PARTS.get(part, set())
            assert name in known or name in sys.stdlib_module_names, f"runtime imports {name}"
        if package == "benchmarks" and name in {"keras", "tensorflow"}:
            assert path.name == "reference.py"
