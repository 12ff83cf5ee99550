"""Addresses that users connect to, and the routes that their names spell out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.endpoint import Ending, endpoint_of, parse_endpoint

APP = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("app.example.org", "app.example.org:443"),
        ("APP.Example.org.:8443", "app.example.org:8443"),
        ("https://app.example.org/login?x=1", "app.example.org:443"),
        ("https://app.example.org:8443", "app.example.org:8443"),
        ("10.0.0.5:9204", "10.0.0.5:9204"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("[2001:db8::1]", "[2001:db8::1]:443"),
        ("localhost:1", "localhost:1"),
    ],
)
def test_an_address(text: str, written: str) -> None:
    found = parse_endpoint(text)
    assert found is not None
    assert str(found) == written
    assert endpoint_of(found.source) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "http://app.example.org", "app.example.org:0", "app.example.org:65536", "a b:443"),
        *("app..example.org", "user@app.example.org", "app.example.org:443:443", "2001:db8::1"),
        *("app.example.org:000443000", "app.example.org:" + "1" * 5000),
        *("app.example.org:४४३", "-app.example.org", "[::1", "a" * 64 + ".org", "[::1]x:443"),
    ],
)
def test_no_address(text: str) -> None:
    assert parse_endpoint(text) is None


@given(st.text(alphabet="ab1.:/-[]@_?s", max_size=40) | st.text(max_size=40))
def test_any_text_is_an_address_or_none(text: str) -> None:
    found = parse_endpoint(text)
    assert found is None or parse_endpoint(str(found)) == found


@pytest.mark.parametrize(
    ("label", "ending"),
    [
        (APP, Ending.GATEWAY),
        (f"{APP}-8080", Ending.GATEWAY),
        (f"{APP}-8080g", Ending.GATEWAY),
        (f"{APP}-8080s", Ending.GUEST),
        (f"{APP}s", Ending.GUEST),
    ],
)
def test_a_route(label: str, ending: Ending) -> None:
    found = parse_endpoint(f"{label}.gw.example.org")
    assert found is not None
    assert found.route is not None
    assert (found.route.identifier, found.route.ending, found.ending) == (APP, ending, ending)
    assert found.route.base == "gw.example.org"


@pytest.mark.parametrize("host", ["app.example.org", APP, f"{APP}-1x.example.org", f"x.{APP}.org"])
def test_no_route(host: str) -> None:
    found = parse_endpoint(host)
    assert found is not None
    assert (found.route, found.ending) == (None, None)


@pytest.mark.parametrize(
    "source", ["https://a.org:443", "tls://a.org", "tls://A.org:443", "tls://"]
)
def test_a_handshake_has_one_spelling(source: str) -> None:
    with pytest.raises(EvidenceError):
        endpoint_of(source)
