"""python -m export.web: the page to draw on with the model in the browser, as a folder of files."""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from export import folder, onnxruntime_web
from runtime import artefact
from runtime.artefact import Artefact
from runtime.backends import open_backend
from runtime.errors import ArtefactError, EdgeError, exit_status

_ROOT = Path(__file__).parents[1]
_PAGE = _ROOT / "runtime/server/page"
_SITE = Path(__file__).parent / "site"
_PUBLISHED = _ROOT / "runtime/pretrained/digits-int8.onnx"
# A folder that holds these was written by this command, and may be replaced.
_OURS = {"index.html", "sw.js", "spec.json", "model.onnx"}
# A static host sets no headers: what the server sends as one stands in the page. WebAssembly needs
# a permission of its own.
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_CHARSET = '<meta charset="utf-8">'
_HEAD = f"""{_CHARSET}
  <meta http-equiv="Content-Security-Policy" content="{_POLICY}">
  <meta name="referrer" content="no-referrer">
  <link rel="manifest" href="site.webmanifest">"""


def main(argv: list[str] | None = None) -> int:
    """The command `python -m export.web`."""
    arguments = parse_args(argv)
    from train.data import cache_folder

    opened = open_model(arguments.model)
    engine = onnxruntime_web.fetch(arguments.cache or cache_folder())
    site = build(opened, engine)
    write(site, arguments.out)
    size = sum(map(len, site.values()))
    print(
        f"{arguments.out}: {len(site)} files, {size / 1e6:.1f} MB; {opened.path.name} "
        f"({opened.spec.precision}) on onnxruntime-web {onnxruntime_web.VERSION}"
    )
    print(f"look at it: python -m http.server --bind 127.0.0.1 --directory {arguments.out}")
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m export.web",
        description="Write the page to draw on with the model in it: a folder that any static "
        "server can host (GitHub Pages, nginx, python -m http.server). The network runs in the "
        "visitor's browser; nothing drawn leaves it, and after the first visit no network is "
        "needed. Any .onnx artefact of this project will do, whatever its labels.",
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
        help="an .onnx artefact (default: the published int8 one)",
    )
    parser.add_argument(
        "--cache", type=Path, help="where the engine is kept (default: the user's cache directory)"
    )
    return parser.parse_args(argv)


def open_model(path: Path) -> Artefact:
    """An .onnx artefact that its own engine opens.

    Raises:
        ArtefactError: it is none, or damaged.
        BackendUnavailable: onnxruntime is not installed.
    """
    if path.suffix != ".onnx":
        raise ArtefactError(f"{path}: browsers run .onnx artefacts; give one with --model")
    opened = artefact.read(path)
    open_backend(opened)
    return opened


def build(opened: Artefact, engine: dict[str, bytes]) -> dict[str, bytes]:
    """The site's files by name.

    Args:
        engine: `ort.js` and `ort.wasm`.
    """
    site = {path.name: path.read_bytes() for path in sorted(_PAGE.iterdir()) if path.is_file()}
    site |= {path.name: path.read_bytes() for path in sorted(_SITE.iterdir()) if path.is_file()}
    site |= engine
    page = site["index.html"].decode()
    if _CHARSET not in page:
        raise EdgeError(f"{_PAGE}/index.html has no {_CHARSET}, behind which the policy goes")
    site["index.html"] = page.replace(_CHARSET, _HEAD, 1).encode()
    site["NOTICE.txt"] = _filled(site["NOTICE.txt"], "version", onnxruntime_web.VERSION)
    site["model.onnx"] = opened.data
    spec = {**json.loads(opened.spec.to_json()), "digest": opened.spec.digest}
    site["spec.json"] = json.dumps(spec, ensure_ascii=False).encode()
    worker = site.pop("sw.js")
    digest = hashlib.sha256()
    for name in sorted(site):
        digest.update(f"{name} {hashlib.sha256(site[name]).hexdigest()}\n".encode())
    names = [".", *sorted(site.keys() - {"NOTICE.txt"})]
    worker = _filled(worker, "digest", digest.hexdigest())
    site["sw.js"] = _filled(worker, "files", json.dumps(names))
    return site


def write(site: dict[str, bytes], out: Path) -> None:
    """Put the site at `out`, whole or not at all; an older one there is replaced.

    Raises:
        EdgeError: something else is there, or it cannot be written.
    """
    with folder.replacing(out, _OURS.issubset) as fresh:
        for name, content in site.items():
            (fresh / name).write_bytes(content)


def _filled(template: bytes, name: str, value: str) -> bytes:
    return template.replace(b"{{" + name.encode() + b"}}", value.encode())


if __name__ == "__main__":
    sys.exit(exit_status(main))
