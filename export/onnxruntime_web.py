"""Fetches onnxruntime-web, the engine that runs .onnx models in a browser.

`digit-edge export-web` copies the engine into the site that it writes. The engine is one pinned npm
release; its SHA-512 is verified.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from runtime.errors import EdgeError
from runtime.system import atomic_write

VERSION = "1.30.0"  # pinned version of onnxruntime-web
# "sha512-" and the SHA-512 of the tarball in base64, as in the npm registry. A tarball with another
# SHA-512 raises EdgeError.
INTEGRITY = (
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZ"
    "ClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
TARBALL = f"onnxruntime-web-{VERSION}.tgz"  # file name of the downloaded release

# File in the tarball → its name in the site: the smallest build that runs the model (WebAssembly
# with SIMD instructions).
_MEMBERS = {
    "package/dist/ort.wasm.bundle.min.mjs": "ort.js",
    "package/dist/ort-wasm-simd-threaded.wasm": "ort.wasm",
}
_NPM_TIMEOUT_S = 600  # for the download; npm is then stopped, and EdgeError is raised
_MAX_REASON_CHARS = 200  # of npm's first error line that a message quotes; the rest is cut off


def fetch(cache: Path) -> dict[str, bytes]:
    """Return the files of the engine.

    Args:
        cache: folder of the tarball. If the tarball is missing, npm downloads it into this folder.

    Returns:
        Name in the site ("ort.js", "ort.wasm") → content.

    Raises:
        EdgeError: npm is missing or cannot download the tarball, or the tarball has another
            SHA-512.
    """
    tarball = cache / TARBALL
    if not tarball.is_file():
        _download(tarball)
    data = tarball.read_bytes()
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise EdgeError(
            f"{tarball} is not onnxruntime-web {VERSION}: its SHA-512 differs; delete the file "
            "and run the command again"
        )
    with tarfile.open(tarball) as archive:
        members = {name: archive.extractfile(member) for member, name in _MEMBERS.items()}
        return {name: member.read() for name, member in members.items() if member is not None}


def _download(tarball: Path) -> None:
    """Download the tarball with npm, and put it into the cache."""
    by_hand = f"or copy {TARBALL} from the npm registry to {tarball}"
    npm = shutil.which("npm")
    if npm is None:
        raise EdgeError(
            f"npm is not installed, but {TARBALL} is downloaded with it: install npm, {by_hand}"
        )
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", folder]
        try:
            done = subprocess.run(
                [*command, "--ignore-scripts", "--loglevel", "error"],
                capture_output=True,
                text=True,
                timeout=_NPM_TIMEOUT_S,
                cwd=folder,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EdgeError(f"npm cannot fetch {TARBALL} ({error}): try again, {by_hand}") from None
        packed = Path(folder, TARBALL)
        if done.returncode != 0 or not packed.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            reason = lines[0][:_MAX_REASON_CHARS] if lines else "npm printed no reason"
            raise EdgeError(f"npm cannot fetch {TARBALL} ({reason}): check the network, {by_hand}")
        atomic_write.write(tarball, packed.read_bytes())
