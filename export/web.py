"""Write a static site: a page to draw on with the model.

The command is `digit-edge export-web`. The site contains the page of `digit-edge serve`, the model,
and a program in WebAssembly that runs the model in the browser. The program is the C code of
`export.c`, already compiled. A service worker caches all files, so the site works offline.
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

from export.c.browser_model import browser_model, feature_maps
from export.c.network import Network, read_network
from runtime import __version__
from runtime.backends import open_backend
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
_SHARED_FILES = (
    "app.js",
    "maps.js",
    "pad.js",
    "picture.js",
    "texts.js",
    "style.css",
    "icon.svg",
)
# Starts of the keys of texts that only the page of the server shows.
_SERVER_TEXTS = ("keep", "kept", "mode", "number", "preview", "problem.4", "problem.5", "token")
_GOLDEN_IMAGES = 4  # that the page checks when it opens; each adds 1.3 KB to the site
_LANGUAGE = (
    "en"  # of the texts that are in the HTML, until the page has loaded the browser's language
)
_SITE = Path(__file__).parent / "site"  # the other files and templates of the site
_PUBLISHED = _ROOT / "runtime/pretrained/digits-int8.tflite"  # the default model

# An existing folder is only replaced if it contains all of these files, and only files that this
# command or an earlier version writes. Otherwise EdgeError is raised.
_REQUIRED_FILES = {"index.html", "sw.js", "spec.json"}
# Files that earlier versions of this command also wrote. A folder with these files is replaced.
_FORMER_FILES = {
    "NOTICE.txt",
    "components.js",
    "cuts.js",
    "decode.js",
    "doubt.js",
    "ink.js",
    "judge.js",
    "layout.js",
    "model.onnx",
    "ort.js",
    "ort.wasm",
    "photo.js",
    "pillow.js",
    "preprocess.js",
    "reading.js",
    "relief.js",
    "thumbnail.js",
}
_DIGITS = tuple("0123456789")  # with these labels, the texts of the page are about digits


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge export-web` and return its exit status."""
    arguments = parse_args(argv)
    opened = open_model(arguments.model)
    site = build(opened)
    write(site, arguments.out)
    size_bytes = sum(map(len, site.values()))
    folder = printable(str(arguments.out))
    print(
        f"{folder}: {len(site)} files, {size_bytes / 1000:.0f} KB; {printable(opened.path.name)} "
        "in WebAssembly"
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
        "visitor's browser; pictures stay there, and after the first visit the page works "
        "offline. It reads drawings and photographs of one digit; digit-edge serve also reads "
        "numbers of several digits. Any int8 .tflite artifact for images of 28×28 gray pixels "
        "can be used, with any labels and the layers of digit-edge export-c.",
        {0: "written"},
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
        help="an int8 .tflite artifact (default: the published one)",
    )
    return parser.parse_args(argv)


def open_model(path: Path) -> Artifact:
    """Read an int8 .tflite artifact, and check that LiteRT can open it.

    Raises:
        ArtifactError: the file is not an int8 .tflite artifact, is damaged, has another input than
            28×28 gray pixels, has no golden images, or has a name that is not UTF-8.
        BackendUnavailable: LiteRT is not installed.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise ArtifactError(
            f"{path}: the page shows the file name, but the name is not UTF-8: rename the file"
        ) from None
    opened = artifact.read(path)
    spec = opened.spec
    if opened.format != ".tflite" or spec.precision != "int8":
        raise ArtifactError(
            f"{path}: the page runs int8 .tflite artifacts; create one with digit-edge "
            "export-tflite --quantize"
        )
    if spec.kind != CLASSES or spec.pixel_form != MNIST_FORM:
        size = "×".join("N" if side is None else str(side) for side in spec.input_shape)
        raise ArtifactError(
            f"{path}: the page converts drawings to 28×28×1 pixels, but the input of this model is "
            f"{size} ({spec.form}); use digit-edge serve"
        )
    if spec.golden is None or not len(spec.golden.pixels):
        raise ArtifactError(
            f"{path}: the artifact has no golden images, with which the page checks the model; "
            "export the model again"
        )
    open_backend(opened, "litert")
    return opened


def build(opened: Artifact) -> dict[str, bytes]:
    """Return the files of the site.

    Args:
        opened: the artifact that the page runs.

    Returns:
        File name → content, such as "index.html" and "model.bin".

    Raises:
        ArtifactError: a layer is not supported.
    """
    network = read_network(opened)
    languages = {
        path.name.split(".")[1]: _site_texts(path) for path in sorted(_PAGE.glob("texts.*.json"))
    }
    site = {name: (_PAGE / name).read_bytes() for name in _SHARED_FILES}
    for code, texts in languages.items():
        site[f"texts.{code}.json"] = json.dumps(texts, ensure_ascii=False, indent=0).encode()
    site |= {path.name: path.read_bytes() for path in sorted(_SITE.iterdir()) if path.is_file()}
    for name in site:
        if name.endswith(".js"):  # comments are for readers of the repository
            site[name] = re.sub(rb"(?m)^ *//.*\n", b"", site[name])
    site["index.html"] = _page(site["index.html"], opened, languages)
    tagline = json.dumps(_tagline(opened, languages))
    site["site.webmanifest"] = _filled(site["site.webmanifest"], tagline=tagline)
    site["model.bin"] = browser_model(network, opened.spec)
    site["spec.json"] = json.dumps(_spec(opened, network), ensure_ascii=False).encode()
    worker = site.pop("sw.js")
    digest = hashlib.sha256()
    for name in sorted(site):
        digest.update(f"{name} {hashlib.sha256(site[name]).hexdigest()}\n".encode())
    names = json.dumps([".", *sorted(site)])
    site["sw.js"] = _filled(worker, digest=digest.hexdigest(), files=names)
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


def _site_texts(path: Path) -> dict[str, str]:
    """Return the texts of a language that the site shows."""
    texts = json.loads(path.read_bytes())
    return {key: text for key, text in texts.items() if not key.startswith(_SERVER_TEXTS)}


def _spec(opened: Artifact, network: Network) -> dict[str, Any]:
    """Return the description of the model for the page."""
    spec = opened.spec
    assert spec.golden is not None
    return {
        "version": __version__,
        "model": {
            "name": spec.name,
            "precision": spec.precision,
            "digest": spec.digest,
            "labels": spec.labels,
            "test_accuracy": spec.metrics.test_accuracy if spec.metrics else None,
            "n_test": spec.metrics.n_test if spec.metrics else None,
        },
        "golden": {
            "pixels": base64.b64encode(spec.golden.pixels[:_GOLDEN_IMAGES].tobytes()).decode(),
            "scores": spec.golden.scores[:_GOLDEN_IMAGES].tolist(),
        },
        "feature_maps": feature_maps(network),
        "rejects_odd_shapes": spec.rejection_model is not None,
    }


def _page(template: bytes, opened: Artifact, languages: dict[str, dict[str, str]]) -> bytes:
    """Return index.html: its template with the texts that depend on the model.

    The notices for a page without JavaScript or opened from a file are there in all languages,
    because such a page cannot load texts.
    """
    command = "digit-edge serve"
    if opened.path.resolve() != _PUBLISHED.resolve():
        command += f" --model {shlex.quote(opened.path.name)}"
    template = template.replace(b"{{languages}}", json.dumps(sorted(languages)).encode())
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
