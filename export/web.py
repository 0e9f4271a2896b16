"""python -m export.web: the page to draw on with the model in the browser, as a folder of files."""

import argparse
import base64
import hashlib
import html
import json
import re
import shlex
import sys
from pathlib import Path

from export import onnxruntime_web
from runtime.backends import golden, open_backend
from runtime.cli.exit_status import exit_status
from runtime.errors import ArtifactError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.system import atomic_write

_ROOT = Path(__file__).parents[1]
_PAGE = _ROOT / "runtime/serve/page"
_SHARED = ("app.js", "pad.js", "style.css", "icon.svg")  # of the page of runtime.serve
_SITE = Path(__file__).parent / "site"
_PUBLISHED = _ROOT / "runtime/pretrained/digits-int8.onnx"
# A folder that holds these, and nothing but what this command writes, may be replaced.
_MARKS = {"index.html", "sw.js", "spec.json", "model.onnx"}
# Files of earlier versions' sites, which read photographs and numbers too.
_EARLIER = {
    "components.js",
    "cuts.js",
    "decode.js",
    "doubt.js",
    "ink.js",
    "layout.js",
    "photo.js",
    "picture.js",
    "pillow.js",
    "reading.js",
    "relief.js",
    "thumbnail.js",
}
_DIGITS = tuple("0123456789")


def main(argv: list[str] | None = None) -> int:
    """The command `python -m export.web`."""
    arguments = parse_args(argv)
    from train.data.load import cache_folder

    opened = open_model(arguments.model)
    engine = onnxruntime_web.fetch(arguments.cache or cache_folder())
    site = build(opened, engine)
    write(site, arguments.out)
    size = sum(map(len, site.values()))
    where = printable(str(arguments.out))
    print(
        f"{where}: {len(site)} files, {size / 1e6:.1f} MB; {printable(opened.path.name)} "
        f"({opened.spec.precision}) on onnxruntime-web {onnxruntime_web.VERSION}"
    )
    folder = shlex.quote(where)
    print(f"look at it: python -m http.server --bind 127.0.0.1 --directory {folder}")
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m export.web",
        description="Write the page to draw on with the model in it: a folder that any static "
        "server can host (GitHub Pages, nginx, python -m http.server). The network runs in the "
        "visitor's browser; nothing drawn leaves it, and after the first visit no network is "
        "needed. The page reads drawings of one digit; photographs and numbers of several digits "
        "are read by python -m runtime.serve. Any .onnx artifact of this project will do, whatever "
        "its labels.",
        epilog=f"The engine is onnxruntime-web {onnxruntime_web.VERSION}, fetched once with npm, "
        "checked against the SHA-512 written in this program, and copied into the folder. "
        "Exit status: 0 written, 2 bad input, or npm is missing or offline.",
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write, or replace")
    parser.add_argument(
        "--model",
        type=Path,
        default=_PUBLISHED,
        metavar="PATH",
        help="an .onnx artifact (default: the published int8 one)",
    )
    parser.add_argument(
        "--cache", type=Path, help="where the engine is kept (default: the user's cache directory)"
    )
    return parser.parse_args(argv)


def open_model(path: Path) -> Artifact:
    """An .onnx artifact that its own engine opens.

    Raises:
        ArtifactError: it is none, or damaged.
        BackendUnavailable: onnxruntime is not installed.
    """
    if path.suffix != ".onnx":
        raise ArtifactError(f"{path}: browsers run .onnx artifacts; give one with --model")
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise ArtifactError(
            f"{path}: the page shows its name, which is not UTF-8: rename the file"
        ) from None
    opened = artifact.read(path)
    open_backend(opened)
    return opened


def build(opened: Artifact, engine: dict[str, bytes]) -> dict[str, bytes]:
    """The site's files by name.

    Args:
        engine: `ort.js` and `ort.wasm`.
    """
    site = {name: (_PAGE / name).read_bytes() for name in _SHARED}
    site |= {path.name: path.read_bytes() for path in sorted(_SITE.iterdir()) if path.is_file()}
    site |= engine
    site["index.html"] = _page(site["index.html"], opened)
    tagline = json.dumps(_tagline(opened))
    site["site.webmanifest"] = _filled(site["site.webmanifest"], tagline=tagline)
    site["NOTICE.txt"] = _filled(site["NOTICE.txt"], version=onnxruntime_web.VERSION)
    site["model.onnx"] = opened.data
    spec = {
        **json.loads(opened.spec.to_json()),
        "digest": opened.spec.digest,
        "golden_tolerance": golden.TOLERANCE[opened.spec.precision],
    }
    site["spec.json"] = json.dumps(spec, ensure_ascii=False).encode()
    worker = site.pop("sw.js")
    digest = hashlib.sha256()
    for name in sorted(site):
        digest.update(f"{name} {hashlib.sha256(site[name]).hexdigest()}\n".encode())
    names = [".", *sorted(site.keys() - {"NOTICE.txt"})]
    site["sw.js"] = _filled(worker, digest=digest.hexdigest(), files=json.dumps(names))
    return site


def write(site: dict[str, bytes], out: Path) -> None:
    """Put the site at `out`, whole or not at all; an older one there is replaced.

    Raises:
        EdgeError: something else is there, or it cannot be written.
    """
    with atomic_write.atomic_folder(out, site.keys() | _EARLIER, _MARKS) as fresh:
        for name, content in site.items():
            (fresh / name).write_bytes(content)


def _page(template: bytes, opened: Artifact) -> bytes:
    digits = opened.spec.labels == _DIGITS
    command = "python -m runtime.serve"
    if opened.path.resolve() != _PUBLISHED.resolve():
        command += f" --model {shlex.quote(opened.path.name)}"
    # The policy allows the one inline script by its digest.
    _, _, script = template.partition(b"<script>")
    digest = base64.b64encode(hashlib.sha256(script.partition(b"</script>")[0]).digest())
    values = {
        "script": f"sha256-{digest.decode()}",
        "title": "digit-edge: draw a digit" if digits else "digit-edge: draw",
        "tagline": _tagline(opened),
        "one": "digit" if digits else "character or sign",
        "several": "numbers of several digits" if digits else "pictures of several",
        "command": command,
    }
    return _filled(template, **{name: html.escape(value) for name, value in values.items()})


def _tagline(opened: Artifact) -> str:
    if opened.spec.labels == _DIGITS:
        return "Draw a digit; a small network reads it."
    return "A small network reads what you draw."


def _filled(template: bytes, **values: str) -> bytes:
    """A template with its placeholders filled; in one pass, for a value may look like one."""
    return re.sub(rb"{{(\w+)}}", lambda found: values[found[1].decode()].encode(), template)


if __name__ == "__main__":
    sys.exit(exit_status(main))
