"""Connections to an origin are used again, one request at a time, and closed when done."""

from functools import partial

import httpcore
import pytest

from verifier.collect.connections import Connections

ANSWER = (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n", b"\r\n", b"ok")
LAST = (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\nConnection: close\r\n", b"\r\n", b"ok")


def connections(*received: bytes) -> Connections:
    origin = httpcore.URL("http://node.example").origin
    backend = httpcore.MockBackend(list(received))
    return Connections(partial(httpcore.HTTPConnection, origin, network_backend=backend))


def asked(connection: httpcore.HTTPConnection) -> bytes:
    request = httpcore.Request("GET", "http://node.example/", headers={"Host": "node.example"})
    answer = connection.handle_request(request)
    body = b"".join(answer.iter_stream())
    answer.close()
    return body


def test_a_connection_is_used_again_by_the_next_request() -> None:
    node = connections(*ANSWER * 2)
    first = node.take()
    assert asked(first) == b"ok"
    node.give(first)
    assert node.take() is first


def test_a_connection_that_is_given_back_twice_is_one() -> None:
    node = connections(*ANSWER)
    first = node.take()
    assert asked(first) == b"ok"
    node.give(first)
    node.give(first)
    assert node.take() is first
    assert node.take() is not first


def test_a_connection_in_use_is_nobody_elses() -> None:
    node = connections(*ANSWER)
    assert node.take() is not node.take()


def test_a_connection_that_the_server_ends_is_not_used_again() -> None:
    node = connections(*LAST)
    first = node.take()
    assert asked(first) == b"ok"
    node.give(first)
    assert first.is_closed()
    assert node.take() is not first


def test_a_connection_that_failed_is_not_used_again() -> None:
    node = connections(b"no HTTP\r\n\r\n")
    first = node.take()
    with pytest.raises(httpcore.RemoteProtocolError):
        asked(first)
    node.give(first)
    assert node.take() is not first


def test_closing_ends_what_is_in_use_too() -> None:
    node = connections(*ANSWER)
    used, idle = node.take(), node.take()
    assert asked(used) == b"ok"
    assert asked(idle) == b"ok"
    node.give(idle)
    node.close()
    assert used.is_closed()
    assert idle.is_closed()
