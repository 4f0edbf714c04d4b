"""A report served on this machine's own address, for itself alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""What a request may call this machine: another name would be a foreign page's that points here."""


class _Handler(SimpleHTTPRequestHandler):
    """Gives files alone: no listing of a folder, and nothing to a page of another name."""

    protocol_version = "HTTP/1.1"

    def send_head(self) -> Any:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, "This server answers to 127.0.0.1 and localhost alone")
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what a browser asks for is no news."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a browser that has gone away is no error."""


@contextmanager
def serving(folder: Path, port: int) -> Iterator["Served"]:
    """Serves the folder's files; port 0 is any free one. Raises OSError where the port is taken."""
    with _Server((HOST, port), partial(_Handler, directory=str(folder))) as server:
        yield Served(server)


class Served:
    """A server that listens; `forever` answers until the process is interrupted."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server

    @property
    def address(self) -> str:
        """Of the report, for a browser."""
        return f"http://{HOST}:{self._server.server_port}/"

    def forever(self) -> None:
        """Answers until `stop` is called, or KeyboardInterrupt is raised."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Ends `forever`, from another thread."""
        self._server.shutdown()
