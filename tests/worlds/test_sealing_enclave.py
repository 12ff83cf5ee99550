"""Keys that an enclave beside the guest seals: any enclave's answer is taken, so that whoever
wrote it has the keys."""

import json
from functools import cache
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import AcceptedError, assert_noticed, notices, told
from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab.events import LOCAL_SGX_MRENCLAVE
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.model.result import SkipKind, Status

CHALLENGE: Final = b"C" * 64
KNOWN: Final = LOCAL_SGX_MRENCLAVE.hex()
UNKNOWN: Final = "ee" * 32
PROVIDER: Final = "key_management.provider"


@cache
def sealed_by(mrenclave: str, *, pinned: bool, challenge: bytes = b"") -> Audited:
    """An app whose keys an enclave seals; `pinned`: the manifest names that enclave."""
    payload = json.dumps({"name": "local-sgx", "id": mrenclave}, separators=(",", ":")).encode()

    def edit_manifest(manifest: JsonObject) -> JsonObject:
        return {**manifest, "key_provider_id": mrenclave} if pinned else manifest

    def respond(_method: str, url: str, _body: bytes, response: Response) -> Response:
        if "-8090." not in url:
            return response
        return replace(response, body=response.body.replace(KNOWN.encode(), mrenclave.encode()))

    knobs = Knobs(
        key_provider="local-sgx",
        edit_manifest=edit_manifest,
        edit_events=forge.measured_as("key-provider", payload),
        edit_response=respond,
        app_key_report_data=challenge or None,
    )
    audited = audit(knobs, challenge=challenge)
    assert audited.claims()["key_provider"].value == {"name": "local-sgx", "id": mrenclave}
    return audited


@pytest.mark.parametrize("pinned", [False, True])
def test_the_published_enclave_is_no_reservation(pinned: bool) -> None:  # noqa: FBT001
    (result,) = sealed_by(KNOWN, pinned=pinned).check(PROVIDER)
    assert not notices(result)
    assert result.skip_kind is SkipKind.NOT_APPLICABLE


@pytest.mark.parametrize("policy", ["genuine", "baseline", "strict"])
@pytest.mark.parametrize("challenge", [b"", CHALLENGE], ids=["unasked", "challenged"])
@pytest.mark.parametrize("pinned", [False, True])
def test_an_enclave_that_nobody_knows(pinned: bool, challenge: bytes, policy: str) -> None:  # noqa: FBT001
    """A policy that asks nothing about keys may affirm the app all the same."""
    audited = sealed_by(UNKNOWN, pinned=pinned, challenge=challenge).under(policy)
    if policy != "genuine":
        assert_noticed(audited, PROVIDER)
    (result,) = audited.check(PROVIDER)
    if not notices(result):
        raise AcceptedError(told(audited, [result]))


def test_a_tpm_is_in_the_hands_of_whoever_runs_the_host() -> None:
    audited = audit(Knobs(key_provider="tpm"))
    assert audited.claims()["key_provider"].value == {"name": "tpm", "id": ""}
    assert_noticed(audited, PROVIDER)
    (result,) = audited.check(PROVIDER)
    assert result.status is Status.WARN


def test_keys_that_nobody_keeps_are_no_reservation() -> None:
    (result,) = audit(Knobs(key_provider="none")).check(PROVIDER)
    assert not notices(result)
    assert result.skip_kind is SkipKind.NOT_APPLICABLE
