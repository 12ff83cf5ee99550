"""What a gateway shows about its keys: read whole, or refused with a reason."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Kind
from verifier.evidence.gateway import (
    account_report_data,
    key_report_data,
    parse_acme_info,
    presented_quote,
)
from verifier.lab import cert, keys
from verifier.lab.endpoint import GATEWAY_KEY
from verifier.lab.gateway import ACCOUNT_URI
from verifier.lab.world import build

ARTIFACT = Artifact(kind=Kind.GATEWAY_ACME, source="acme-info", collected_at=0)
WORLD = build()
INFO = WORLD.gateway.acme_info()


def changed(edit: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(json.dumps(INFO))
    edit(document)
    return json.dumps(document).encode()


def test_keys_and_account() -> None:
    found = parse_acme_info(json.dumps(INFO).encode(), "acme-info")
    key = keys.spki(keys.p256(GATEWAY_KEY))
    assert found.account_uri == ACCOUNT_URI
    assert [item.content == key for item in found.keys] == [False, True]
    source = presented_quote(found.keys[1], ARTIFACT)
    assert source is not None
    assert source.quote[568 : 568 + 64] == key_report_data(key)
    assert source.has_log
    account = presented_quote(found.account, ARTIFACT)
    assert account is not None
    assert account.quote[568 : 568 + 64] == account_report_data(ACCOUNT_URI)


def test_an_attestation_in_place_of_a_quote() -> None:
    bound = key_report_data(b"key")
    blob = cert.scale_v0(WORLD.gateway.guest.attestation(bound)).hex()
    entry = {
        "public_key": b"key".hex(),
        "quote": "",
        "attestation": json.dumps({"attestation": blob}),
    }
    raw = changed(lambda info: info["quoted_hist_keys"].insert(0, entry))
    source = presented_quote(parse_acme_info(raw, "acme-info").keys[0], ARTIFACT)
    assert source is not None
    assert source.quote[568 : 568 + 64] == bound


def test_what_was_not_quoted_has_no_source() -> None:
    raw = changed(lambda info: info["quoted_hist_keys"][0].update(quote=""))
    assert presented_quote(parse_acme_info(raw, "acme-info").keys[0], ARTIFACT) is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda info: info.update(quoted_hist_keys={}),
        lambda info: info.update(quoted_hist_keys=[1]),
        lambda info: info.update(quoted_hist_keys=[{}] * 1025),
        lambda info: info["quoted_hist_keys"][0].update(public_key="xyz"),
        lambda info: info["quoted_hist_keys"][0].update(quote={}),
        lambda info: info.update(account_uri=1),
    ],
    ids=["no list", "a number", "too many", "no hex", "an object", "no text"],
)
def test_another_form_is_refused(edit: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(EvidenceError):
        parse_acme_info(changed(edit), "acme-info")


@given(st.binary(max_size=64) | st.sampled_from([b"{}", b"[]", b'{"quoted_hist_keys":[{}]}']))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        found = parse_acme_info(raw, "acme-info")
    except EvidenceError:
        return
    assert found.account_uri == ""
