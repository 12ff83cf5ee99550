"""A guest names the KMS that it was shown; that this KMS gave it its keys is another matter.

The guest asks the address that its host gives for a CA certificate, measures the key of the first
block that it gets, and trusts every block. A KMS of the host's own that answers with the true CA
certificate and its own gives the guest its keys, while the guest measures the true KMS.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import AcceptedError, assert_noticed, assert_stands, told
from verifier.evidence.bundle import Kind
from verifier.evidence.codec import JsonObject
from verifier.evidence.td.report_data import CHALLENGE_LEAF, Binding
from verifier.lab import forgeries as forge
from verifier.lab.events import Event
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.world import build
from verifier.model.result import Basis, Verdict

CHALLENGE: Final = b"N" * 64
GUEST: Final = "-8090."
IDENTITY: Final = "application.identity"
MR_KMS_CHECKS: Final = (
    "runtime.events",
    "application.identity",
    "key_management.provider",
    "key_management.attestation",
    "authorization.allowed",
)
"""Where it may be noticed which build of a KMS a guest met."""


@cache
def ca_key(kms: str) -> str:
    """The CA key (hex SubjectPublicKeyInfo) of a KMS of the lab."""
    return build(Knobs(kms=kms)).kms.ca_spki.hex()


def own_manifest(manifest: JsonObject) -> JsonObject:
    """A manifest that nobody allowed."""
    return {**manifest, "name": "evil"}


def keyed_by_the_host(
    kms: str,
    *,
    manifest: Callable[[JsonObject], JsonObject] = lambda manifest: manifest,
    events: forge.EventsEdit = lambda events: events,
    certificate: str = "",
    **turned: object,
) -> Knobs:
    """Keys come from the host's KMS, and everything that the guest says names the true one, whose
    answers are shown. `certificate` is the app certificate that the host shows (PEM)."""
    true, own = ca_key(kms), ca_key("attacker")
    payload = json.dumps({"name": "kms", "id": true}, separators=(",", ":")).encode()
    measured = forge.measured_as("key-provider", payload)

    def measure(log: list[Event]) -> list[Event]:
        return measured(events(log))

    def edit_manifest(document: JsonObject) -> JsonObject:
        pinned: JsonObject = json.loads(json.dumps(document).replace(own, true))
        return manifest(pinned)

    def respond(method: str, url: str, body: bytes, response: Response) -> Response:
        if GUEST not in url:
            return response
        shown = forge.info_field("app_cert", certificate)(method, url, body, response)
        return replace(shown, body=shown.body.replace(own.encode(), true.encode()))

    return Knobs(
        kms="attacker",
        kms_answers=kms,
        app_on_chain=True if kms == "onchain" else None,
        edit_manifest=edit_manifest,
        edit_events=measure,
        edit_response=respond,
        **turned,  # type: ignore[arg-type]
    )


@cache
def withheld(kms: str, whose: str, challenge: bytes = b"") -> Audited:
    """The app certificate is withheld; the manifest is the app's, or the attacker's own, which the
    contract never allowed."""
    own = whose == "own manifest"
    knobs = keyed_by_the_host(
        kms,
        manifest=own_manifest if own else lambda manifest: manifest,
        compose_hash_on_chain="never" if own else "added",
        app_key_report_data=challenge or None,
    )
    audited = audit(knobs, challenge=challenge)
    assert audited.world.knobs.kms == "attacker"
    assert named_kms(audited) == ca_key(kms)
    return audited


def named_kms(audited: Audited) -> str:
    """The CA key that the guest measured."""
    provider = audited.claims()["key_provider"]
    assert isinstance(provider.value, dict)
    assert provider.basis is Basis.MEASURED
    return str(provider.value["id"])


@pytest.mark.parametrize(
    ("kms", "whose", "challenge", "policy"),
    [
        ("onchain", "own manifest", CHALLENGE, "genuine"),
        ("onchain", "same manifest", b"", "genuine"),
        ("onchain", "same manifest", b"", "baseline"),
        ("onchain", "same manifest", CHALLENGE, "baseline"),
        ("onchain", "same manifest", CHALLENGE, "strict"),
        ("hosted", "own manifest", b"", "genuine"),
        ("hosted", "own manifest", b"", "baseline"),
    ],
)
def test_an_id_that_only_the_guest_ties_to_a_kms(
    kms: str, whose: str, challenge: bytes, policy: str
) -> None:
    assert_noticed(withheld(kms, whose, challenge).under(policy), IDENTITY)


@pytest.mark.parametrize("kms", ["onchain", "hosted"])
@pytest.mark.parametrize("name", ["kms", "kms_root"])
def test_a_kms_that_only_the_guest_names_is_its_word(name: str, kms: str) -> None:
    audited = withheld(kms, "own manifest")
    claim = audited.claims().get(name)
    if claim is not None and claim.basis not in (Basis.ASSERTED, Basis.UNKNOWN):
        raise AcceptedError(f"{name}: {claim.basis}; {told(audited, audited.check(IDENTITY))}")


@cache
def lent_certificate(report_data: bytes = CHALLENGE) -> tuple[Audited, Audited]:
    """An honest TD, and another one of the same machine, seed and registers, that the host's KMS
    gave its keys: it answers the challenge under the certificate of the first."""
    without = forge.measured_without("mr-kms")
    honest = audit(Knobs(edit_events=without))
    (subject,) = honest.bundle.subjects
    (info,) = {honest.bundle.blob(item) for item in honest.bundle.of(Kind.INFO, subject)}
    certificate = json.loads(info)["app_cert"]
    assert certificate
    knobs = keyed_by_the_host(
        "onchain", events=without, certificate=certificate, app_key_report_data=report_data
    )
    other = audit(knobs, challenge=CHALLENGE)
    assert other.world.app_id == honest.world.app_id
    assert other.world.guest.td_report.rtmrs == honest.world.guest.td_report.rtmrs
    assert named_kms(other) == ca_key("onchain")
    return honest, other


@pytest.mark.parametrize("policy", ["genuine", "baseline", "strict"])
def test_a_certificate_that_another_td_of_equal_registers_was_given(policy: str) -> None:
    _, other = lent_certificate()
    assert_noticed(other.under(policy), IDENTITY)


def convention(audited: Audited) -> Binding:
    """What the relying party names for the manifest of a guest."""
    return Binding(CHALLENGE_LEAF, (audited.world.guest.compose_hash,))


@cache
def answered() -> Audited:
    """An honest app, whose own code answers a challenge with a quote over it and its key."""
    return audit(Knobs(challenge=CHALLENGE[:32]), challenge=CHALLENGE[:32])


@pytest.mark.parametrize("policy", ["genuine", "baseline", "strict"])
def test_a_quote_that_commits_to_the_challenge_and_the_certificates_key(policy: str) -> None:
    named = answered().again(binds=(convention(answered()),))
    assert_stands(named.under(policy), IDENTITY, "key_management.certificate")
    assert CHALLENGE_LEAF in named.check(IDENTITY)[0].summary


@pytest.mark.parametrize("policy", ["genuine", "baseline"])
def test_the_certificate_of_the_judged_quote(policy: str) -> None:
    assert_stands(audit(Knobs()).under(policy), IDENTITY)


@pytest.mark.parametrize(
    "binds", [(), (Binding(CHALLENGE_LEAF, (bytes(32),)),), (Binding("file", (bytes(32),)),)]
)
def test_a_convention_that_is_not_named_for_this_manifest(
    binds: tuple[Binding, ...],
) -> None:
    named = answered().again(binds=binds)
    assert_noticed(named.under("baseline"), IDENTITY)
    strict = named.under("strict")
    assert_noticed(strict, IDENTITY)
    assert strict.report.verdict is Verdict.NONE


@pytest.mark.parametrize("policy", ["genuine", "baseline", "strict"])
def test_a_td_of_equal_registers_that_commits_to_its_own_key(policy: str) -> None:
    """The convention is named; the certificate that is shown is that of the honest TD."""
    own = CHALLENGE[:32] + hashlib.sha256(b"key of another TD").digest()
    other = lent_certificate(own)[1]
    named = other.again(binds=(convention(other),), challenge=CHALLENGE[:32])
    assert_noticed(named.under(policy), IDENTITY)


@pytest.mark.parametrize("version", ["0.4.2", "0.5.5", "0.5.8", "0.5.11"])
def test_releases_that_measure_the_build_of_their_kms(version: str) -> None:
    audited = audit(Knobs(version=version))
    assert "mr-kms" in {event.name for event in audited.world.guest.events}
    assert_stands(audited, "runtime.events")


@pytest.mark.parametrize("version", ["0.4.2", "0.5.5", "0.5.8", "0.5.11"])
def test_the_build_of_the_kms_is_missing(version: str) -> None:
    """A KMS whose certificate carries no attestation leaves no such event."""
    audited = audit(Knobs(version=version, edit_events=forge.measured_without("mr-kms")))
    assert "mr-kms" not in audited.claims()
    assert_noticed(audited, *MR_KMS_CHECKS)


def test_the_build_of_the_kms_is_none_that_the_contract_allows() -> None:
    foreign = b"\x66" * 32
    audited = audit(Knobs(edit_events=forge.measured_as("mr-kms", foreign)))
    assert audited.claims()["mr_kms"].value == foreign.hex()
    assert_noticed(audited, *MR_KMS_CHECKS, refusing=True)
