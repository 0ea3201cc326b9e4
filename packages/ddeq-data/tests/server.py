"""A server on the loopback address that gives files, and fails as it is told."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Files:
    """What a server gives, how it fails, and what it was asked for.

    Attributes:
        content: dict from path to bytes.
        ranges: Whether it understands requests for a part of a file.
        cuts: Bytes after which it cuts the connection, one number for each of the next answers.
        pause: Seconds after each piece of 4 KB.
        status: If not 0, the answer to everything.
        endless: Whether it sends a file again and again and does not say how long it is.
        lies: Whether it says of every part that it begins at the first byte.
        drip: If not 0, seconds after each single byte.
        asked: The header `Range` of each request, or "".
    """

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.ranges = True
        self.cuts: list[int] = []
        self.pause = 0.0
        self.status = 0
        self.endless = self.lies = False
        self.drip = 0.0
        self.asked: list[str] = []
        self.url = ""


@contextmanager
def serve(content: dict[str, bytes]) -> Iterator[Files]:
    """Run a server; `files.url` ends in a slash."""
    files = Files(content)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            files.asked.append(asked)
            content = files.content.get(self.path.lstrip("/"))
            if files.status or content is None:
                self.send_error(files.status or 404)
                return
            start = 0
            if asked and files.ranges:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                begin = 0 if files.lies else start
                span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", span)
            else:
                self.send_response(200)
            if not files.endless:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = len(content)
            if files.cuts:
                stop = min(stop, start + files.cuts.pop(0))
            try:
                while files.endless:
                    self.wfile.write(content)
                for first in range(start, stop if files.drip else start):
                    self.wfile.write(content[first : first + 1])
                    time.sleep(files.drip)
                for first in range(start, stop, 4096):
                    self.wfile.write(content[first : min(first + 4096, stop)])
                    time.sleep(files.pause)
            except OSError:  # the one who asked was killed
                pass
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    files.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
