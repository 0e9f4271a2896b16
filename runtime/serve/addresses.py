"""Parse and format HOST:PORT addresses of the command line.

`digit-edge serve` and the option --preview of `digit-edge camera` use this module. It imports no
package of the extra `serve`.
"""

import re

_MAX_PORT = 65_535  # the largest 16-bit number; a larger number is not a port
# [HOST]:PORT or HOST:PORT. An IPv6 address needs brackets: its last group looks like a port.
_ADDRESS = re.compile(r"(?:\[([^\[\]]*:[^\[\]]*)\]|([^\[\]:]*)):([^:]*)", re.DOTALL)


def parse_port(text: str) -> int | None:
    """Return the port, 0 to 65535; None if the text is not a port."""
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > _MAX_PORT:
        return None
    return int(text)


def parse_address(text: str) -> tuple[str, int] | None:
    """Return (host, port) of HOST:PORT; None if the text has another form.

    An IPv6 address must be in brackets, and is returned without brackets. The host is empty if the
    text is `:PORT`.
    """
    match = _ADDRESS.fullmatch(text)
    port = None if match is None else parse_port(match[3])
    if match is None or port is None:
        return None
    return match[1] or match[2], port


def join_address(host: str, port: int) -> str:
    """Return `host:port` as in a URL, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
