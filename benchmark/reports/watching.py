"""The report served on this machine's loopback address, renewed while runs go on."""

import threading
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmark.errors import MachineError
from benchmark.reports.page import render
from benchmark.reports.page_data import Content
from benchmark.store import Results, folders, scan
from benchmark.tables import Choice, Showing
from methods.errors import InputError

HOST = "127.0.0.1"


def state(results: Results) -> str:
    """Return what changes when a run begins, gets on or ends."""
    digest = sha256()
    for root in folders(results):
        digest.update(repr(scan(root)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


class Pages:
    """The page for the state that the results folder is in; it is made when somebody asks."""

    def __init__(
        self,
        results: Results,
        prefer: str | Path | None = None,
        choice: Choice | None = None,
        showing: Showing | None = None,
    ) -> None:
        self.results = results
        self.prefer = prefer
        self.choice = choice
        self.showing = showing
        self._lock = threading.Lock()
        self._state = ""
        self._page = b""

    def page(self) -> bytes:
        """Return the page, made anew if anything has changed."""
        with self._lock:
            now = state(self.results)
            if now != self._state:
                content = Content.read(self.results, self.prefer, self.choice, self.showing)
                self._page = render(content, watched=now).encode()
                self._state = now
            return self._page


def serve(
    results: Results,
    port: int,
    ready: Callable[[str], None],
    prefer: str | Path | None = None,
    choice: Choice | None = None,
    showing: Showing | None = None,
) -> None:
    """Serve the report until Ctrl-C.

    Args:
        results: The results folder, or several.
        prefer: The one whose runs count where the same run has other numbers.
        port: On the loopback address; 0 takes a free one.
        ready: Is told the address.
        choice: Which runs, rows and columns are shown.
        showing: What they are called.

    Raises:
        InputError: If there is no such folder.
        MachineError: If the port is taken.
    """
    folders(results)
    try:
        server = make_server(results, port, prefer, choice, showing)
    except OSError as error:
        raise MachineError(f"cannot serve on {HOST}:{port}: {error.strerror} (--port names another)") from None
    with server:
        ready(f"http://{HOST}:{server.server_address[1]}/")
        server.serve_forever()


def make_server(
    results: Results,
    port: int,
    prefer: str | Path | None = None,
    choice: Choice | None = None,
    showing: Showing | None = None,
) -> ThreadingHTTPServer:
    """Return the server, which listens already."""
    pages = Pages(results, prefer, choice, showing)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the page, its state, or nothing."""
            # a page of somebody else, whose name was made to lead here, is not told anything
            if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
                self._answer(403, b"forbidden\n", "text/plain")
            elif self.path == "/state":
                self._answer(200, state(results).encode(), "text/plain")
            elif self.path == "/":
                self._page()
            else:
                self._answer(404, b"not here\n", "text/plain")

        def _page(self) -> None:
            try:
                self._answer(200, pages.page(), "text/html; charset=utf-8")
            except InputError as error:
                self._answer(500, f"{error}\n".encode(), "text/plain; charset=utf-8")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing of each request."""

    return ThreadingHTTPServer((HOST, port), Handler)
