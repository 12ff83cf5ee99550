"""The list of files and the account that dstack-ingress publishes: read whole, or refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.ingress import account_uri, parse_listing

SUM = "ab" * 32


def test_a_list_of_files() -> None:
    raw = f"{SUM}  acme-account.json\n{SUM} *cert-app.example.org.pem\n".encode()
    assert parse_listing(raw, "list") == {"acme-account.json": SUM, "cert-app.example.org.pem": SUM}
    assert parse_listing(b"", "list") == {}


@pytest.mark.parametrize(
    "text",
    [
        f"{SUM} name",
        f"{SUM.upper()}  name",
        f"{SUM}  ../name",
        f"{SUM}  a\n\n{SUM}  b",
        f"{SUM}  twice\n{SUM}  twice",
        f"\\{SUM}  name",
        "\n".join(f"{SUM}  name{number}" for number in range(65)),
        f"{SUM}  näme",
    ],
    ids=["blank", "case", "path", "gap", "twice", "escaped", "many", "letters"],
)
def test_another_list_is_refused(text: str) -> None:
    with pytest.raises(EvidenceError):
        parse_listing(text.encode(), "list")


@pytest.mark.parametrize(
    "document",
    [
        {"uri": "https://ca/1"},
        {"registration": {"accountURL": "https://ca/1", "uri": "https://ca/2"}},
        {"registration": {"uri": "https://ca/1"}},
    ],
)
def test_an_account(document: object) -> None:
    assert account_uri(json.dumps(document).encode(), "account") == "https://ca/1"


@pytest.mark.parametrize("document", [{}, [], {"uri": ""}, {"uri": 1}, {"registration": "x"}])
def test_no_account(document: object) -> None:
    with pytest.raises(EvidenceError):
        account_uri(json.dumps(document).encode(), "account")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for parse in (parse_listing, account_uri):
        try:
            parse(raw, "file")
        except EvidenceError:
            continue
