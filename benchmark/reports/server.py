"""The report served on this machine's loopback address, and reloaded while runs progress."""

import threading
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmark.errors import MachineError
from benchmark.reports.page import render
from benchmark.reports.page_data import Content
from benchmark.store import Results, folders, scan
from methods.errors import InputError

HOST = "127.0.0.1"


class LivePage:
    """The page for the current state of results folders, rendered on request."""

    def __init__(self, results: Results, read: Callable[[], Content]) -> None:
        self._results, self._read = results, read
        self._lock = threading.Lock()
        self._state, self._page = "", b""

    def state(self) -> str:
        """Return a hash that changes when a run begins, progresses or ends."""
        digest = sha256()
        for root in folders(self._results):
            digest.update(repr(scan(root)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]

    def page(self) -> bytes:
        """Return the page, rendered again if anything has changed."""
        with self._lock:
            if (now := self.state()) != self._state:
                self._page, self._state = render(self._read(), state=now).encode(), now
            return self._page


def serve(results: Results, port: int, ready: Callable[[str], None], read: Callable[[], Content]) -> None:
    """Serve the report until Ctrl-C.

    Args:
        port: On the loopback address; 0 takes a free one.

    Raises:
        InputError: If a results folder does not exist.
        MachineError: If the port is in use.
    """
    folders(results)
    try:
        server = make_server(LivePage(results, read), port)
    except OSError as error:
        raise MachineError(f"cannot serve on {HOST}:{port}: {error.strerror} (--port chooses another)") from None
    with server:
        ready(f"http://{HOST}:{server.server_address[1]}/")
        server.serve_forever()


def make_server(live: LivePage, port: int) -> ThreadingHTTPServer:
    """Return the server, which is already listening."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the page, its state, or an error."""
            # a foreign page whose host name was made to resolve to this machine gets nothing
            if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
                self._answer(403, b"forbidden\n")
            elif self.path == "/state":
                self._answer(200, live.state().encode())
            elif self.path == "/":
                try:
                    self._answer(200, live.page(), "text/html; charset=utf-8")
                except InputError as error:
                    self._answer(500, f"{error}\n".encode())
            else:
                self._answer(404, b"not found\n")

        def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log no requests."""

    return ThreadingHTTPServer((HOST, port), Handler)
