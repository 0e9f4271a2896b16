"""Downloads MNIST from mirrors: short timeouts, resumed transfers, verified SHA-256.

`train.data.load` calls `download` if no data set is passed and MNIST is not in the user's cache.
"""

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

# URLs of folders with MNIST's four .gz files. The first is used; after a failure, the second.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
TIMEOUT_S = 4.0  # a server that does not connect or send data for this time has failed
MIN_RATE_BYTES_PER_S = 2000  # a transfer with a lower average rate fails
MIN_RATE_AFTER_S = 8.0  # before this time, a transfer is not checked for its rate
# Largest file, compressed or not; a larger file is rejected. MNIST's largest file has 47 MB.
MAX_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 16  # bytes read from the network or a file at a time
_DNS_MARGIN_S = 1.0  # added to TIMEOUT_S for the thread that opens a URL, DNS query included


def download(
    folder: Path,
    mirrors: Sequence[str] = MIRRORS,
    sha256: Mapping[str, str] = MNIST_SHA256,
    option: str = "--data",
) -> None:
    """Download files as NAME.gz into a folder; valid files in the folder are not downloaded again.

    An interrupted transfer leaves NAME.gz.part, which the next call resumes. A file gets its final
    name only after the SHA-256 of its decompressed content was verified. After a mirror has failed,
    the next mirror is used for this file and all further files.

    Args:
        folder: folder to write to; created if it is missing.
        mirrors: URLs of folders, each ending in a slash; at least one.
        sha256: NAME → hexadecimal SHA-256 of the decompressed content.
        option: the option that names these files, for the message.

    Raises:
        DatasetError: all mirrors failed; the message contains the error of the last mirror.
    """
    remaining = list(mirrors)
    for name, expected_sha256 in sha256.items():
        if _is_valid(folder / f"{name}.gz", expected_sha256):
            continue
        while True:
            try:
                _fetch(f"{remaining[0]}{name}.gz", folder / f"{name}.gz", expected_sha256)
                break
            except (OSError, http.client.HTTPException, DatasetError, EdgeError) as error:
                failed = remaining.pop(0)
                if not remaining:
                    raise DatasetError(
                        f"{failed}{name}.gz: {_reason(error)}; download "
                        f"{', '.join(f'{each}.gz' for each in sha256)} by hand from "
                        f"{' or '.join(mirrors)} and put them into {folder}, or pass them with "
                        f"{option}"
                    ) from error


def _reason(error: Exception) -> str:
    """Return the reason of a failed download, without an error number or the name of a type."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(getattr(cause, "strerror", None) or cause)


def _fetch(url: str, path: Path, expected_sha256: str) -> None:
    """Download a file and verify it; resume an interrupted transfer once.

    Raises:
        DatasetError: the content has another SHA-256.
        EdgeError: the file cannot be written.
        HTTPException: the response is not valid HTTP.
        OSError: the server cannot be reached, is too slow or reports an error.
    """
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    for is_last_try in (False, True):
        resumed = part.exists() and part.stat().st_size > 0
        try:
            _transfer(url, part)
        except (OSError, http.client.HTTPException):
            # Do not try again if the server sent nothing: another timeout would follow.
            if is_last_try or not part.exists() or part.stat().st_size == 0:
                raise
            continue
        if _is_valid(part, expected_sha256):
            atomic_write.write(path, part.read_bytes())
            part.unlink()
            return
        # The start of the file came from a mirror with other compression, or the file is not MNIST.
        # Neither can be resumed.
        part.unlink()
        if is_last_try or not resumed:
            raise DatasetError("the SHA-256 of the content is not MNIST's")


def _transfer(url: str, part: Path) -> None:
    """Download the bytes of `url` that are missing at the end of `part`."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "digit-edge"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = _open(request)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # range not satisfiable: `part` is complete, or another file
            return
        raise OSError(f"HTTP status {error.code} {error.reason}") from None
    with response:
        if response.status != 206:  # not partial content
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdecimal() else None
        if total is not None and total > MAX_BYTES:
            raise OSError(f"the file has {total} bytes, more than MNIST's (at most {MAX_BYTES})")
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
            size, started = start, time.monotonic()
            while chunk := response.read1(_CHUNK_BYTES):
                file.write(chunk)
                size += len(chunk)
                bar.update(len(chunk))
                seconds = time.monotonic() - started
                if size > MAX_BYTES:
                    raise OSError(f"the file has more than {MAX_BYTES} bytes, more than MNIST's")
                if seconds > MIN_RATE_AFTER_S and size - start < MIN_RATE_BYTES_PER_S * seconds:
                    raise TimeoutError("the server is too slow")
    if total is not None and size < total:
        raise OSError(f"the transfer ended after {size} of {total} bytes")


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Open a URL within the timeout, in a thread: a DNS query has no timeout of its own."""
    results: SimpleQueue[http.client.HTTPResponse | Exception] = SimpleQueue()

    def open_url() -> None:
        try:
            results.put(urllib.request.urlopen(request, timeout=TIMEOUT_S))
        except (OSError, http.client.HTTPException, ValueError) as error:
            results.put(error)

    threading.Thread(target=open_url, daemon=True).start()
    try:
        result = results.get(timeout=TIMEOUT_S + _DNS_MARGIN_S)
    except Empty:
        raise TimeoutError("the connection timed out") from None
    if isinstance(result, Exception):
        raise result
    return result


def _is_valid(path: Path, expected_sha256: str) -> bool:
    """Return whether a gzip file is complete and its content has the expected SHA-256."""
    try:
        unpacker, sha256, size = zlib.decompressobj(wbits=31), hashlib.sha256(), 0
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                # Deflate compresses at most about 1000:1, so a chunk unpacks to 64 MiB at most.
                content = unpacker.decompress(chunk)
                size += len(content)
                if size > MAX_BYTES:
                    return False
                sha256.update(content)
    except (OSError, zlib.error):
        return False
    return unpacker.eof and sha256.hexdigest() == expected_sha256
