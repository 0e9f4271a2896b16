"""Starts the server: its socket, its access rules, its worker process and the application."""

import python_multipart  # noqa: F401  (Starlette reads forms with it, and imports it late)

from runtime.errors import printable
from runtime.serve import service
from runtime.serve.access import find_access
from runtime.serve.access_options import AccessOptions
from runtime.serve.app import create_app
from runtime.serve.limits import Limits
from runtime.serve.supervisor import Supervisor
from runtime.serve.wire import ModelOptions
from runtime.system.host import return_freed_memory


def serve(
    model: ModelOptions,
    host: str,
    port: int,
    limits: Limits,
    access_options: AccessOptions,
    certificate: service.Certificate | None,
) -> None:
    """Serve until a signal ends the process; print the address once requests are accepted.

    Args:
        port: 0 takes a free one.
        certificate: for HTTPS; without it, HTTP.

    Raises:
        EdgeError: the address cannot be bound, the access options do not suffice for it, or the
            model or the certificate cannot be read.
    """
    access = find_access(host, access_options, option="--host")
    listener = service.bind(host, port)
    supervisor = Supervisor(model, limits)
    app = create_app(supervisor, limits, access)
    scheme = "http" if certificate is None else "https"
    address = f"{scheme}://{service.address_of(listener)}/"
    return_freed_memory()
    opened = supervisor.start()

    def announce() -> None:
        description = f"{opened.name} ({opened.precision}) on {opened.backend}"
        print(printable(f"{description}: {address}"), flush=True)

    service.serve(app, listener, limits, certificate, announce, supervisor.is_progressing)
