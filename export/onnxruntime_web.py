"""onnxruntime for browsers: one pinned release from the npm registry, checked, kept in a cache."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from runtime.errors import EdgeError
from runtime.system import atomic_write

VERSION = "1.30.0"
# What the registry and package-lock.json files call its integrity: SHA-512, in base64.
INTEGRITY = (
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZ"
    "ClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
TARBALL = f"onnxruntime-web-{VERSION}.tgz"
# The smallest build that runs the model: WebAssembly with SIMD. Member → name in the site.
_MEMBERS = {
    "package/dist/ort.wasm.bundle.min.mjs": "ort.js",
    "package/dist/ort-wasm-simd-threaded.wasm": "ort.wasm",
}
_TIMEOUT_S = 600


def fetch(cache: Path) -> dict[str, bytes]:
    """The engine's files by their names in the site; from `cache`, else with npm.

    Raises:
        EdgeError: it is not in the cache and npm is not there or cannot fetch it, or what is there
            is not that release.
    """
    tarball = cache / TARBALL
    if not tarball.is_file():
        _download(tarball)
    data = tarball.read_bytes()
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise EdgeError(
            f"{tarball} is not onnxruntime-web {VERSION}: its SHA-512 is another; delete it, and "
            "it is fetched again"
        )
    with tarfile.open(tarball) as archive:
        members = {name: archive.extractfile(member) for member, name in _MEMBERS.items()}
        return {name: member.read() for name, member in members.items() if member is not None}


def _download(tarball: Path) -> None:
    by_hand = f"or put {TARBALL} of the npm registry at {tarball}"
    npm = shutil.which("npm")
    if npm is None:
        raise EdgeError(f"npm is not installed, which fetches {TARBALL}: install it, {by_hand}")
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", folder]
        try:
            done = subprocess.run(
                [*command, "--ignore-scripts", "--loglevel", "error"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                cwd=folder,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EdgeError(f"npm cannot fetch {TARBALL} ({error}): try again, {by_hand}") from None
        packed = Path(folder, TARBALL)
        if done.returncode != 0 or not packed.is_file():
            said = [line for line in done.stderr.splitlines() if line.strip()] or [
                "no reason given"
            ]
            raise EdgeError(
                f"npm cannot fetch {TARBALL} ({said[0][:200]}): check the network, {by_hand}"
            )
        atomic_write.write(tarball, packed.read_bytes())
