"""Parse and format HOST:PORT addresses of the command line.

Used by `runtime.serve` and by the camera's --preview. Imports no package of the extra `serve`.
"""

import re

_MAX_PORT = 65_535  # ports are 16-bit numbers
# [HOST]:PORT or HOST:PORT. An IPv6 address needs brackets: its last group looks like a port.
_ADDRESS = re.compile(r"(?:\[([^\[\]]*:[^\[\]]*)\]|([^\[\]:]*)):([^:]*)", re.DOTALL)


def parse_port(text: str) -> int | None:
    """Return the port, 0 to 65535, or None if the text is not a port."""
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > _MAX_PORT:
        return None
    return int(text)


def parse_address(text: str) -> tuple[str, int] | None:
    """Return the host and port of HOST:PORT, or None if the text has another form.

    The host is returned without brackets; it is empty in `:PORT`.
    """
    match = _ADDRESS.fullmatch(text)
    port = None if match is None else parse_port(match[3])
    if match is None or port is None:
        return None
    return match[1] or match[2], port


def join_address(host: str, port: int) -> str:
    """Return `host:port` as in a URL, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
