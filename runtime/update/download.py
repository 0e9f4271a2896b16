"""Download a file over HTTP, with a size limit, timeouts, a minimum rate and retries.

`digit-edge update` downloads models and their signatures with `fetch`.
"""

import http.client
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from runtime.errors import EdgeError

TIMEOUT_S = 10.0  # limit for the connection and for each read; beyond it, the attempt fails
MAX_ATTEMPTS = 3  # after this many failed attempts, the download fails
_RETRY_DELAY_S = 0.5  # pause between two attempts
HEADERS_TIMEOUT_S = 12.0  # limit from the start until the headers, with all redirects
_MIN_BYTES_PER_S = 1000  # lowest mean rate of the body; an attempt that is slower fails
_RATE_CHECK_AFTER_S = 20.0  # from the headers; the mean rate is not checked before
BODY_TIMEOUT_S = 900.0  # limit from the headers to the end of the body
_POLL_S = 0.1  # interval at which the limits are checked
_CHUNK_BYTES = 1 << 16  # most bytes of one read
_MAX_LENGTH_DIGITS = 19  # a Content-Length with more digits is ignored
_ABSENT_STATUSES = (404, 410)  # HTTP statuses "not found" and "gone": the file does not exist

# First HTTP status of an error of the server, after which the download is retried. Lower statuses
# are errors of the request, and the download fails at once.
_FIRST_SERVER_ERROR = 500


class NotFound(EdgeError):
    """The server does not have the file (status 404 or 410)."""


def fetch(url: str, limit: int) -> bytes:
    """Download a file and return its content.

    Args:
        url: an http or https URL; a redirect from https to http is rejected.
        limit: largest size in bytes; a larger file is an error.

    Raises:
        NotFound: the server returns 404 or 410.
        EdgeError: the download failed `MAX_ATTEMPTS` times or cannot succeed, or the file is larger
            than `limit`.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        retry = attempt < MAX_ATTEMPTS
        try:
            return _Attempt(url, limit).result()
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
    raise AssertionError("unreachable")


class _Attempt:
    """One attempt to download a file, in a thread of its own.

    A server can keep one read going for ever, with a byte now and then. So the caller checks the
    limits, and gives up on the thread.
    """

    def __init__(self, url: str, limit: int) -> None:
        self._url, self._limit = url, limit
        self._received = bytearray()
        self._body_since_s: float | None = None  # time (monotonic) of the headers
        self._error: BaseException | None = OSError("the download was aborted")
        self._ended = threading.Event()

    def result(self) -> bytes:
        """Download the file and return its content.

        Raises:
            EdgeError: the file is larger than the limit.
            OSError: the connection failed or ended early, or the server is too slow.
            ValueError: the URL or a redirect is invalid.
        """
        threading.Thread(target=self._run, name="download", daemon=True).start()
        start_s = time.monotonic()
        while not self._ended.wait(_POLL_S):
            now_s = time.monotonic()
            if self._body_since_s is None:
                if now_s - start_s > HEADERS_TIMEOUT_S:
                    raise TimeoutError("timed out before the end of the response headers")
                continue
            seconds = now_s - self._body_since_s
            is_slow = len(self._received) < _MIN_BYTES_PER_S * seconds
            if (seconds > _RATE_CHECK_AFTER_S and is_slow) or seconds > BODY_TIMEOUT_S:
                raise TimeoutError("the server is too slow")
        if self._error is not None:
            raise self._error
        return bytes(self._received)

    def _run(self) -> None:
        try:
            self._download()
            self._error = None
        except (OSError, http.client.HTTPException, ValueError, EdgeError) as error:
            self._error = error  # raised again in the caller's thread
        finally:
            self._ended.set()

    def _download(self) -> None:
        opener = urllib.request.build_opener(_SecureRedirectHandler())
        request = urllib.request.Request(self._url, headers={"User-Agent": "digit-edge"})
        with opener.open(request, timeout=TIMEOUT_S) as response:
            self._body_since_s = time.monotonic()
            length = response.headers.get("Content-Length", "")
            is_length = length.isdecimal() and len(length) <= _MAX_LENGTH_DIGITS
            expected = int(length) if is_length else None
            while chunk := response.read1(_CHUNK_BYTES):
                self._received += chunk
                if len(self._received) > self._limit:
                    raise EdgeError(
                        f"{_without_password(self._url)} is larger than "
                        f"{self._limit >> 20 or 1} MiB, so it is not a model of this project; "
                        "check the URL"
                    )
        if expected is not None and len(self._received) < expected:
            raise OSError(f"the connection ended after {len(self._received)} of {expected} bytes")


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
