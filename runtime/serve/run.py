"""Start the server of `digit-edge serve`: socket, access policy, worker process and application.

`runtime.serve.__main__` calls `serve`, which returns when a signal ends the server.
"""

# Starlette imports python_multipart only when it parses the first form. Import it here, so that a
# missing package is reported at the start.
import python_multipart  # noqa: F401

from runtime.errors import printable
from runtime.numbers.options import NumberOptions
from runtime.serve import service
from runtime.serve.access import find_access
from runtime.serve.access_options import AccessOptions
from runtime.serve.app import create_app
from runtime.serve.collection import Collection
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
    collection: Collection | None = None,
    numbers: NumberOptions | None = None,
) -> None:
    """Serve until a signal ends the process; print the address once requests are accepted.

    Args:
        model: the artifact to open, and the engine to run it with.
        host: the address or name to listen on.
        port: the port to listen on; 0 chooses a free port.
        limits: the limits on requests.
        access_options: the token and host names of the command line.
        certificate: the certificate for HTTPS; None serves HTTP.
        collection: keeps labeled images; None keeps no images.
        numbers: the options of POST /v1/numbers; None reads the whole image without checks.

    Raises:
        EdgeError: the address is not available, or other machines could reach it without a token.
            Or the model or the certificate cannot be read.
        KeyboardInterrupt: Ctrl-C ended the server.
    """
    access = find_access(host, access_options, option="--host")
    listener = service.bind(host, port)
    supervisor = Supervisor(model, limits, numbers)
    app = create_app(supervisor, limits, access, collection)
    scheme = "http" if certificate is None else "https"
    address = f"{scheme}://{service.address_of(listener)}/"
    return_freed_memory()
    opened = supervisor.start()

    def announce() -> None:
        description = f"{opened.name} ({opened.precision}) on {opened.backend}"
        print(printable(f"{description}: {address}"), flush=True)

    service.serve(app, listener, limits, certificate, announce, supervisor.is_progressing)
