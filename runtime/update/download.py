"""Download a file over HTTP, with a size limit, timeouts, a minimum rate and retries.

`digit-edge update` downloads models and their signatures with `fetch`.
"""

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any

from runtime.errors import EdgeError

TIMEOUT_S = 10.0  # limit for the connection and for each read; beyond it, the attempt fails
MAX_ATTEMPTS = 3  # after this many failed attempts, the download fails
_RETRY_DELAY_S = 0.5  # pause between two attempts
_MIN_BYTES_PER_S = 1000  # lowest mean rate; an attempt that is slower fails
_RATE_CHECK_AFTER_S = (
    20.0  # from the start of the response body; the mean rate is not checked before
)
_CHUNK_BYTES = 1 << 16  # most bytes of one read
_MAX_LENGTH_DIGITS = 19  # a Content-Length with more digits is ignored
_ABSENT_STATUSES = (404, 410)  # HTTP statuses "not found" and "gone": the file does not exist

# First HTTP status of an error of the server, after which the download is retried. Lower statuses
# are errors of the request, and the download fails at once.
_FIRST_SERVER_ERROR = 500


class NotFound(EdgeError):
    """The server does not have the file (status 404 or 410)."""


def fetch(url: str, path: Path, limit: int) -> None:
    """Download a file.

    If this function raises an error, `path` may contain a part of the file.

    Args:
        url: an http or https URL; a redirect from https to http is rejected.
        path: the file to write; an existing file is overwritten.
        limit: largest size in bytes; a larger file is an error.

    Raises:
        NotFound: the server returns 404 or 410.
        EdgeError: the download failed `MAX_ATTEMPTS` times or cannot succeed, the file is larger
            than `limit`, or `path` cannot be written.
    """
    opener = urllib.request.build_opener(_SecureRedirectHandler())
    for attempt in range(1, MAX_ATTEMPTS + 1):
        retry = attempt < MAX_ATTEMPTS
        try:
            _download(opener, url, path, limit)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _ABSENT_STATUSES:
                raise NotFound(
                    f"{_without_password(url)}: the server does not have this file; check the URL"
                ) from None
            reason = f"the server returned {error.code} {error.reason}"
            retry = retry and error.code >= _FIRST_SERVER_ERROR
        except urllib.error.URLError as error:
            reason = str(getattr(error.reason, "strerror", None) or error.reason)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        except ValueError as error:
            raise EdgeError(
                f"cannot download {_without_password(url)}: invalid URL or redirect ({error}); "
                "percent-encode non-ASCII characters"
            ) from error
        if not retry:
            raise EdgeError(f"cannot download {_without_password(url)}: {reason}; check the URL")
        time.sleep(_RETRY_DELAY_S)


def _download(opener: urllib.request.OpenerDirector, url: str, path: Path, limit: int) -> None:
    """Make one attempt to download a file; arguments as for `fetch`.

    Raises:
        EdgeError: the file is larger than `limit`, or `path` cannot be written.
        OSError: the connection failed or ended early, or the server is too slow.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "digit-edge"})
    with opener.open(request, timeout=TIMEOUT_S) as response:
        length = response.headers.get("Content-Length", "")
        is_length = length.isdecimal() and len(length) <= _MAX_LENGTH_DIGITS
        expected = int(length) if is_length else None
        with _create(path) as file:
            start = time.monotonic()
            received = 0
            while chunk := response.read1(_CHUNK_BYTES):
                received += len(chunk)
                if received > limit:
                    raise EdgeError(
                        f"{_without_password(url)} is larger than {limit >> 20 or 1} MiB, so it is "
                        "not a model of this project; check the URL"
                    )
                _write(file, chunk, path)
                seconds = time.monotonic() - start
                if seconds > _RATE_CHECK_AFTER_S and received < _MIN_BYTES_PER_S * seconds:
                    raise TimeoutError("the server is too slow")
    if expected is not None and received < expected:
        raise OSError(f"the connection ended after {received} of {expected} bytes")


def _create(path: Path) -> IO[bytes]:
    try:
        return open(path, "wb", buffering=0)
    except OSError as error:
        raise _write_error(path, error) from error


def _write(file: IO[bytes], chunk: bytes, path: Path) -> None:
    try:
        while chunk:
            chunk = chunk[file.write(chunk) :]
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path, error: OSError) -> EdgeError:
    return EdgeError(
        f"cannot write {path}: {error.strerror or error}; "
        "check the folder, its permissions and the space left"
    )


def _without_password(url: str) -> str:
    """Return a URL without user name and password, for messages."""
    return re.sub("//[^/?#]*@", "//", url, count=1)


class _SecureRedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and from https to https only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request for the new URL; see `urllib.request` for the arguments.

        Raises:
            EdgeError: the new URL is not http or https, or is http after https.
        """
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            fp.close()
            raise EdgeError(
                f"{_without_password(req.full_url)} redirects to {scheme}: pass the final URL"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)
