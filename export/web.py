"""Write a static site: a page to draw on with the model.

The command is `digit-edge export-web`. The site contains the page of `digit-edge serve`, the model,
the model's spec, and onnxruntime-web, which runs the model in the browser. A service worker caches
all files, so the site works offline.
"""

import argparse
import base64
import hashlib
import html
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from export import onnxruntime_web
from runtime.backends import golden, open_backend
from runtime.backends.feature_maps import added_outputs, onnx_tensors
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import ArtifactError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import CLASSES
from runtime.preprocess.form import MNIST_FORM
from runtime.system import atomic_write

_ROOT = Path(__file__).parents[1]  # the folder that contains `export` and `runtime`
_PAGE = _ROOT / "runtime/serve/page"  # the page of `digit-edge serve`
# Files copied from `_PAGE`; the texts of all languages are copied too.
_SHARED_FILES = ("app.js", "maps.js", "pad.js", "texts.js", "style.css", "icon.svg")
_LANGUAGE = (
    "en"  # of the texts that are in the HTML, until the page has loaded the browser's language
)
_SITE = Path(__file__).parent / "site"  # the other files and templates of the site
_PUBLISHED = _ROOT / "runtime/pretrained/digits-int8.onnx"  # the default model

# An existing folder is only replaced if it contains all of these files, and only files that this
# command or an earlier version writes. Otherwise EdgeError is raised.
_REQUIRED_FILES = {"index.html", "sw.js", "spec.json", "model.onnx"}
# Files that earlier versions of this command also wrote. A folder with these files is replaced.
_FORMER_FILES = {
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
_DIGITS = tuple("0123456789")  # with these labels, the texts of the page are about digits


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge export-web` and return its exit status."""
    arguments = parse_args(argv)
    from train.data.load import cache_folder

    opened = open_model(arguments.model)
    engine = onnxruntime_web.fetch(arguments.cache or cache_folder())
    site = build(opened, engine)
    write(site, arguments.out)
    size_bytes = sum(map(len, site.values()))
    folder = printable(str(arguments.out))
    print(
        f"{folder}: {len(site)} files, {size_bytes / 1e6:.1f} MB; {printable(opened.path.name)} "
        f"({opened.spec.precision}) on onnxruntime-web {onnxruntime_web.VERSION}"
    )
    print(
        f"serve it with: python -m http.server --bind 127.0.0.1 --directory {shlex.quote(folder)}"
    )
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge export-web",
        "Write a static site: a page to draw on that contains the model. Any static "
        "server can host it (GitHub Pages, nginx, python -m http.server). The model runs in the "
        "visitor's browser; drawings stay there, and after the first visit the page works "
        "offline. It reads drawings of one digit; digit-edge serve also reads photographs "
        "and numbers of several digits. Any .onnx artifact of this project can be used, with any "
        "labels.",
        {0: "written", 2: "bad input or usage, or npm is missing or offline"},
        f"The engine is onnxruntime-web {onnxruntime_web.VERSION}. It is downloaded once with npm, "
        "verified by its SHA-512, and copied into the folder.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the folder to write or replace",
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=_PUBLISHED,
        metavar="PATH",
        help="an .onnx artifact (default: the published int8 one)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="folder of the downloaded engine (default: the user's cache directory)",
    )
    return parser.parse_args(argv)


def open_model(path: Path) -> Artifact:
    """Read an .onnx artifact, and check that onnxruntime can open it.

    Raises:
        ArtifactError: the file is not an .onnx artifact, is damaged, or has a name that is not
            UTF-8.
        BackendUnavailable: onnxruntime is not installed.
    """
    if path.suffix != ".onnx":
        raise ArtifactError(f"{path}: browsers run .onnx artifacts; pass one with --model")
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise ArtifactError(
            f"{path}: the page shows the file name, but the name is not UTF-8: rename the file"
        ) from None
    opened = artifact.read(path)
    if opened.spec.interface is not None:
        raise ArtifactError(
            f"{path}: the page needs the input and output of this project's models, (N, 28, 28, 1) "
            f"from 0 to 1 and a softmax; this model has {opened.spec.interface}"
        )
    if opened.spec.kind == CLASSES and opened.spec.pixel_form != MNIST_FORM:
        raise ArtifactError(
            f"{path}: the page takes drawings of 28x28 pixels, not {opened.spec.pixel_form}; use "
            "the page of digit-edge serve for this model"
        )
    open_backend(opened)
    return opened


def build(opened: Artifact, engine: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of the site.

    Args:
        opened: the artifact that the page runs.
        engine: file name ("ort.js", "ort.wasm") → content, from `onnxruntime_web.fetch`.

    Returns:
        File name → content, such as "index.html" and "model.onnx".
    """
    texts = {path.name: path.read_bytes() for path in sorted(_PAGE.glob("texts.*.json"))}
    site = {name: (_PAGE / name).read_bytes() for name in _SHARED_FILES} | texts
    site |= {path.name: path.read_bytes() for path in sorted(_SITE.iterdir()) if path.is_file()}
    site |= engine
    languages = {name.split(".")[1]: json.loads(content) for name, content in texts.items()}
    site["index.html"] = _page(site["index.html"], opened, languages)
    tagline = json.dumps(_tagline(opened, languages))
    site["site.webmanifest"] = _filled(site["site.webmanifest"], tagline=tagline)
    site["NOTICE.txt"] = _filled(site["NOTICE.txt"], version=onnxruntime_web.VERSION)
    site["model.onnx"] = opened.data
    spec = {
        **json.loads(opened.spec.to_json()),
        "digest": opened.spec.digest,
        "golden_tolerance": golden.TOLERANCE[opened.spec.precision],
        "feature_maps": _feature_maps(opened),
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
    """Write the site atomically; an earlier site at `out` is replaced.

    Args:
        site: file name → content, from `build`.
        out: the folder to write; created if it is missing.

    Raises:
        EdgeError: `out` contains files that are not of a site, or cannot be written.
    """
    known_files = site.keys() | _FORMER_FILES
    with atomic_write.atomic_folder(out, known_files, _REQUIRED_FILES) as folder:
        for name, content in site.items():
            (folder / name).write_bytes(content)


def _feature_maps(opened: Artifact) -> dict[str, Any]:
    """Return the tensors that the page shows, and the field that adds them to the outputs.

    Empty if the network has no feature maps.
    """
    try:
        tensors = onnx_tensors(opened)
    except ArtifactError:
        tensors = []
    return {"tensors": tensors, "outputs": base64.b64encode(added_outputs(tensors)).decode()}


def _page(template: bytes, opened: Artifact, languages: dict[str, dict[str, str]]) -> bytes:
    """Return index.html: its template with the texts that depend on the model.

    The notices for a page without JavaScript or opened from a file are there in all languages,
    because such a page cannot load texts.
    """
    command = "digit-edge serve"
    if opened.path.resolve() != _PUBLISHED.resolve():
        command += f" --model {shlex.quote(opened.path.name)}"
    # The Content-Security-Policy of the page allows the only inline script by the SHA-256 of the
    # script.
    _, _, script = template.partition(b"<script>")
    digest = base64.b64encode(hashlib.sha256(script.partition(b"</script>")[0]).digest())
    values = {
        "script": f"sha256-{digest.decode()}",
        "title": languages[_LANGUAGE]["title" if _is_digits(opened) else "title.own"],
        "tagline": _tagline(opened, languages),
        "command": command,
    }
    filled = {name: html.escape(value) for name, value in values.items()}
    notices = [_file_notice(code, texts) for code, texts in sorted(languages.items())]
    filled["notice"] = "\n    ".join(notices)
    filled["noscript"] = "\n    ".join(
        f'<p class="help" lang="{code}">{html.escape(texts["noscript"])}</p>'
        for code, texts in sorted(languages.items())
    )
    return _filled(template, **filled)


def _file_notice(code: str, texts: dict[str, str]) -> str:
    """Return the notice for a page opened from a file, in one language; hidden at first."""
    title, why, terminal, run, open_, host = (
        html.escape(texts[f"file.{key}"])
        for key in ("title", "why", "terminal", "run", "open", "host")
    )
    address = "http://127.0.0.1:8000/"
    return (
        f'<div lang="{code}" hidden><h2>{title}</h2><p>{why}</p><ol><li>{terminal}</li>'
        f"<li>{run} <code>python -m http.server --bind 127.0.0.1</code></li>"
        f'<li>{open_} <a href="{address}">{address}</a></li></ol><p>{host}</p></div>'
    )


def _is_digits(opened: Artifact) -> bool:
    return opened.spec.labels == _DIGITS


def _tagline(opened: Artifact, languages: dict[str, dict[str, str]]) -> str:
    return languages[_LANGUAGE]["tagline" if _is_digits(opened) else "tagline.own"]


def _filled(template: bytes, **values: str) -> bytes:
    """Fill in a template's placeholders in a single pass, as values may contain "{{…}}"."""
    return re.sub(rb"{{(\w+)}}", lambda match: values[match[1].decode()].encode(), template)


if __name__ == "__main__":
    sys.exit(exit_status(main))
