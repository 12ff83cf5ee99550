"""A package index on loopback: the pinned files, and views where something is wrong with them."""

import base64
import hashlib
import io
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

NEWER: Final = "9999.0"

# Each view is one index: /VIEW/simple/NAME/ lists files, /VIEW/files/FILE gives them.
VIEWS: Final = ("pinned", "later", "withdrawn", "altered", "slow", "broken")


def normalised(name: str) -> str:
    """A name as an index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def empty_wheel(name: str) -> bytes:
    """A wheel of `name`, version 9999.0, that holds its metadata alone."""
    stem = f"{name.replace('-', '_')}-{NEWER}.dist-info"
    files = {
        f"{stem}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {NEWER}\n",
        f"{stem}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={_urlsafe(text.encode())},{len(text)}\n" for path, text in files.items()
    )
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for path, text in {**files, f"{stem}/RECORD": f"{record}{stem}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return raw.getvalue()


def _urlsafe(raw: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    files: Path

    def do_GET(self) -> None:
        """Answer one request."""
        view, _, rest = self.path.lstrip("/").partition("/")
        kind, _, name = rest.partition("/")
        if view == "slow":
            time.sleep(30)
        if view not in VIEWS or view == "broken":
            self._answer(503, b"out of order")
        elif kind == "simple":
            self._answer(*self._listing(view, name.rstrip("/")))
        else:
            self._answer(200, self._file(view, name))

    def _listing(self, view: str, name: str) -> tuple[int, bytes]:
        names = [
            each.name
            for each in sorted(self.files.iterdir())
            if normalised(re.split(r"-\d", each.name, maxsplit=1)[0]) == name
        ]
        if not names:
            return 404, b"no such package"
        mark = ' data-yanked="withdrawn"' if view == "withdrawn" else ""
        links = "".join(f'<a href="/{view}/files/{each}"{mark}>{each}</a>' for each in names)
        if view in ("later", "withdrawn"):
            newer = f"{name.replace('-', '_')}-{NEWER}-py3-none-any.whl"
            links += f'<a href="/{view}/files/{newer}">{newer}</a>'
        return 200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

    def _file(self, view: str, name: str) -> bytes:
        if f"-{NEWER}-" in name:
            return empty_wheel(normalised(name.partition(f"-{NEWER}-")[0]))
        raw = (self.files / name).read_bytes()
        return raw + b"\0" if view == "altered" and name.startswith("rich-") else raw

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 -- the name that the base looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        """Say nothing."""


@contextmanager
def serve(files: Path) -> Iterator[str]:
    """The address of an index of the files in `files`."""
    handler = type("Handler", (_Handler,), {"files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
