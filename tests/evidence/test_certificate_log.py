"""What a search of certificate logs lists, as crt.sh writes it, and as a liar would."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.certificate_log import MAX_LISTED, parse_search, search_url, searched

ROW: dict[str, Any] = {
    "issuer_ca_id": 295815,
    "issuer_name": "C=US, O=Let's Encrypt, CN=R11",
    "common_name": "app.example.org",
    "name_value": "app.example.org\n*.App.example.org",
    "id": 15,
    "entry_timestamp": "2026-11-07T16:46:43.456",
    "not_before": "2026-11-07T15:46:43",
    "not_after": "2027-02-05T15:46:43",
    "serial_number": "03ffeea57322e24cd6fd207682f59ead324f",
}
NOW = 1_796_000_000


def listed(*rows: dict[str, Any]) -> bytes:
    return json.dumps([{**ROW, **row} for row in rows]).encode()


def test_certificate_and_precertificate_are_one() -> None:
    (row,) = parse_search(listed({}, {"id": 14}), "search")
    assert (row.number, row.serial) == (14, 0x3FFEEA57322E24CD6FD207682F59EAD324F)
    assert row.holds_for("app.example.org", NOW)
    assert row.holds_for("x.app.example.org", NOW)
    assert not row.holds_for("x.y.app.example.org", NOW)
    assert not row.holds_for("example.org", NOW)
    assert not row.holds_for("app.example.org", row.not_after + 1)
    assert not row.holds_for("app.example.org", row.not_before - 1)
    assert len(parse_search(listed({}, {"serial_number": "04"}), "search")) == 2


def test_what_is_asked() -> None:
    assert searched("app.example.org") == ("app.example.org", "*.example.org")
    assert search_url("https://crt.sh/", "*.example.org") == (
        "https://crt.sh/?q=%2A.example.org&exclude=expired&deduplicate=Y&output=json"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "15"},
        {"id": True},
        {"not_before": "soon"},
        {"not_after": None},
        {"serial_number": "xyz"},
        {"serial_number": "-1"},
        {"serial_number": ""},
        {"serial_number": "f" * 65},
        {"name_value": ["app.example.org"]},
    ],
    ids=repr,
)
def test_a_row_that_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError, match="search"):
        parse_search(listed(changes), "search")


def test_no_list_and_too_long_a_list() -> None:
    for raw in (b"{}", b"[1]", b"<html>", b"", listed(*[{}] * (MAX_LISTED + 1))):
        with pytest.raises(EvidenceError, match="search"):
            parse_search(raw, "search")


@given(st.binary(max_size=256))
def test_anything_is_read_or_refused(raw: bytes) -> None:
    try:
        parse_search(raw, "search")
    except EvidenceError:
        return
