"""Downloads MNIST: short time-outs, resumed where it broke off, taken only when it is right."""

import hashlib
import http.client
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

from tqdm import tqdm

from runtime.errors import DatasetError, EdgeError
from runtime.system import atomic_write
from train.data.mnist import MNIST_SHA256

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
TIMEOUT_S = 4.0
# A server that stays below this rate for so long is given up.
SLOWEST_BYTES_PER_S, SLOW_FOR_S = 2000, 8.0
MAX_BYTES = 64 << 20
_CHUNK = 1 << 16


def download(
    folder: Path,
    mirrors: Sequence[str] = MIRRORS,
    sha256: Mapping[str, str] = MNIST_SHA256,
) -> None:
    """Download files into `folder`, as `name.gz`, from the first mirror that has them right.

    What a broken transfer left behind, `name.gz.part`, is gone on with. A file takes its place only
    when the SHA-256 of its decompressed content is right. A mirror that failed is not asked again.

    Args:
        folder: made where it is not there.
        mirrors: addresses ending in a slash.
        sha256: of the decompressed content, by name.

    Raises:
        DatasetError: no mirror gave all files; the last mirror's reason is named.
    """
    left = list(mirrors)
    for name, expected in sha256.items():
        if _has(folder / f"{name}.gz", expected):
            continue
        while True:
            try:
                _fetch(f"{left[0]}{name}.gz", folder / f"{name}.gz", expected)
                break
            except (OSError, http.client.HTTPException, DatasetError, EdgeError) as error:
                failed = left.pop(0)
                if not left:
                    raise DatasetError(
                        f"{failed}{name}.gz: {error}; download the four files by hand and give "
                        "their folder with --data"
                    ) from error


def _fetch(url: str, path: Path, expected: str) -> None:
    """Bring one file into place, twice tried: a transfer that broke off is gone on with once."""
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    for last in (False, True):
        resumed = part.exists() and part.stat().st_size > 0
        try:
            _transfer(url, part)
        except (OSError, http.client.HTTPException):
            # Nothing came that the second try could go on with: do not wait for it again.
            if last or not part.exists() or part.stat().st_size == 0:
                raise
            continue
        if _has(part, expected):
            atomic_write.write(path, part.read_bytes())
            part.unlink()
            return
        part.unlink()  # of another mirror's stream, or not MNIST: nothing to go on with
        if last or not resumed:
            raise DatasetError("not the content expected: its SHA-256 differs")


def _transfer(url: str, part: Path) -> None:
    """Append to `part` what it lacks of `url`."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "digit-edge"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = _open(request)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing behind what we have: it is whole, or not this file
            return
        raise OSError(f"the server answers {error.code} {error.reason}") from None
    with response:
        if response.status != 206:
            start = 0  # the server sends all of it again
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdecimal() else None
        if total is not None and total > MAX_BYTES:
            raise OSError(f"it is {total} bytes, more than MNIST")
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(
                desc=url.rpartition("/")[2],
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                leave=False,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            have, began = start, time.monotonic()
            while chunk := response.read1(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
                seconds = time.monotonic() - began
                if have > MAX_BYTES:
                    raise OSError(f"it is more than {MAX_BYTES} bytes, more than MNIST")
                if seconds > SLOW_FOR_S and have - start < SLOWEST_BYTES_PER_S * seconds:
                    raise TimeoutError("the server is too slow")
    if total is not None and have < total:
        raise OSError(f"it broke off after {have} of {total} bytes")


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Open a URL within the time-out, the look-up of its name included, which has none itself."""
    answers: SimpleQueue[http.client.HTTPResponse | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=TIMEOUT_S))
        except (OSError, http.client.HTTPException, ValueError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=TIMEOUT_S + 1)
    except Empty:
        raise TimeoutError("timed out") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _has(path: Path, expected: str) -> bool:
    """Whether a gzip file is whole and its content has the SHA-256 expected."""
    try:
        unpacker, sha256, size = zlib.decompressobj(wbits=31), hashlib.sha256(), 0
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                # At most 1000:1, so a chunk never unpacks to more than 64 MiB.
                content = unpacker.decompress(chunk)
                size += len(content)
                if size > MAX_BYTES:
                    return False
                sha256.update(content)
    except (OSError, zlib.error):
        return False
    return unpacker.eof and sha256.hexdigest() == expected
