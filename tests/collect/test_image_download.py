"""Downloading an image: in pieces, taken up again, and never more than was asked for."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.collect.loopback import Script, Server, answer
from verifier.collect import image_download
from verifier.collect.http import HttpClient
from verifier.collect.image_download import download, image_url
from verifier.errors import CollectError, LimitError, NetworkError

CONTENT = bytes(range(256)) * 10
PIECE = 1000
Serve = Callable[..., Server]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_download, "_PIECE", PIECE)


def part(first: int, content: bytes = CONTENT, total: int | None = None) -> Script:
    """One piece of a file, whatever was asked for."""
    body = content[first : first + PIECE]
    where = f"bytes {first}-{first + len(body) - 1}/{len(content) if total is None else total}"
    return answer("206 Partial Content", body, f"Content-Range: {where}")


def as_asked(server: Server, connection: socket.socket) -> None:
    """The piece that was asked for."""
    match = re.search(rb"[Rr]ange: bytes=(\d+)-", server.requests[-1])
    assert match is not None
    part(int(match[1]))(server, connection)


def client() -> HttpClient:
    return HttpClient(clock=lambda: 0, allow_hosts=("127.0.0.1",))


def test_all_of_a_file_arrives_and_progress_is_told(serve: Serve, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = tmp_path / "new" / "image.tar.gz"
    with client() as http:
        download(http, serve(as_asked).url, path, lambda *n: told.append(n))
    assert path.read_bytes() == CONTENT
    assert told == [(1000, 2560), (2000, 2560), (2560, 2560)]
    assert list(path.parent.iterdir()) == [path]


def test_a_download_that_broke_off_is_taken_up_again(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "image.tar.gz"
    server = serve(as_asked, answer("404 Not Found"), as_asked)
    with client() as http:
        with pytest.raises(CollectError):
            download(http, server.url, path, lambda *_: None)
        assert not path.exists()
        download(http, server.url, path, lambda *_: None)
    assert path.read_bytes() == CONTENT
    ranges = [re.search(rb"bytes=(\d+)", request) for request in server.requests]
    assert [int(match[1]) for match in ranges if match] == [0, 1000, 1000, 2000]


@pytest.mark.parametrize(
    ("scripts", "error"),
    [
        ((answer("200 OK", CONTENT[:10]),), NetworkError),
        ((answer("206 Partial Content", b"x"),), NetworkError),
        ((part(1),), LimitError),
        ((part(0, total=999),), LimitError),
        ((part(0, total=1 << 40),), LimitError),
        ((part(0), part(1000, total=9999)), LimitError),
        ((part(0), part(0)), LimitError),
        ((answer("206 Partial Content", b"", "Content-Range: bytes 0-0/0"),), LimitError),
        ((answer("206 Partial Content", b"", "Content-Range: bytes 0--1/5"),), NetworkError),
        ((answer("200 OK", bytes(9 << 20)),), LimitError),
    ],
)
def test_servers_that_do_not_serve_parts(
    serve: Serve, tmp_path: Path, scripts: tuple[Script, ...], error: type[Exception]
) -> None:
    path = tmp_path / "image.tar.gz"
    with client() as http, pytest.raises(error):
        download(http, serve(*scripts).url, path, lambda *_: None)
    assert not path.exists()


def test_a_folder_that_cannot_be_written(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with client() as http, pytest.raises(CollectError):
        download(http, serve(as_asked).url, tmp_path / "file" / "image", lambda *_: None)


def test_where_dstack_publishes() -> None:
    assert image_url("ab" * 32) == f"https://download.dstack.org/os-images/mr_{'ab' * 32}.tar.gz"
