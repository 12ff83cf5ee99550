"""A KMS that the relying party knows by its root address alone: what ties that key to the CA key
that the guest names, and what only looks as if it did."""

from collections.abc import Callable
from functools import cache
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.cli.question import named_kms
from verifier.collection import Sources, collect_evidence
from verifier.lab import forged_kms
from verifier.lab.knobs import DEFAULT_NOW, Knobs
from verifier.lab.response import Response
from verifier.lab.world import World, build
from verifier.model.result import CheckResult, SkipKind, Status, Verdict

OWN: Final = Knobs(kms="self-hosted", kms_answers="self-hosted")
"""An app whose keys come from a KMS of its operator's own, which nobody else knows."""

PROVIDER: Final = "key_management.provider"
ATTESTATION: Final = "key_management.attestation"


@cache
def honest() -> World:
    return build(OWN)


def root_of(world: World) -> str:
    return "0x" + world.kms.root_address.hex()


def code_of(world: World) -> str:
    return world.kms.guest.compose_hash.hex()


def asked(knobs: Knobs, root: str, *code: str) -> Audited:
    """The audit by who names a KMS by its root address, and the code that it knows."""
    audited = audit(knobs)
    question = replace(
        audited.question, kms=named_kms(root, audited.question.reference), kms_code=code
    )
    sources = Sources(responder=audited.world.respond, cloud=False)
    bundle = collect_evidence(question, sources, lambda: DEFAULT_NOW)
    return audited.again(bundle, kms=question.kms, kms_code=code)


def result(audited: Audited, check_id: str) -> CheckResult:
    return audited.check(check_id)[0]


@pytest.mark.parametrize("bootstrap", ["kept", "none"])
def test_known_code_ties_it(bootstrap: str) -> None:
    knobs = replace(OWN, kms_bootstrap=bootstrap)
    audited = asked(knobs, root_of(honest()), code_of(honest()))
    assert result(audited, PROVIDER).status is Status.PASS
    assert "root key" in result(audited, PROVIDER).summary
    assert result(audited, "application.identity").status is Status.PASS
    assert result(audited, ATTESTATION).status is Status.WARN  # no contract allows its build
    assert audited.report.verdict is Verdict.WARNING
    recorded = audited.again(trusted=False, kms=audited.question.kms)
    tied = result(recorded, PROVIDER).status is Status.PASS
    assert tied is (bootstrap == "kept")  # what nobody vouches for is only what was signed


def test_code_that_nobody_knows_ties_nothing() -> None:
    audited = asked(OWN, root_of(honest()))
    found = result(audited, PROVIDER)
    assert audited.report.verdict is Verdict.NONE
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert code_of(honest()) in found.remediation


def relayed(victim: World) -> Callable[[str, str, bytes, Response], Response]:
    """Answer what another KMS signs, as any server can."""

    def edit(method: str, url: str, body: bytes, response: Response) -> Response:
        if "KMS.GetAppEnvEncryptPubKey" not in url:
            return response
        return replace(response, body=victim.respond(method, url, None, body).body)

    return edit


def test_a_kms_of_other_code_that_relays_what_the_true_one_signs() -> None:
    victim = build(Knobs(seed=OWN.seed))
    knobs = replace(
        OWN,
        kms_bootstrap="other",
        edit_kms=forged_kms.manifest("restart: unless-stopped", "restart: always"),
        edit_response=relayed(victim),
    )
    audited = asked(knobs, root_of(victim), code_of(victim), code_of(honest()))
    assert result(audited, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE
    assert audited.report.verdict is Verdict.NONE


def test_a_record_that_names_another_root_key() -> None:
    attacker = build(Knobs(kms="attacker", kms_answers="attacker"))
    knobs = replace(OWN, kms_bootstrap="other")
    audited = asked(knobs, root_of(attacker), code_of(honest()))
    assert result(audited, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE


def test_known_code_by_a_tag_is_no_known_code() -> None:
    edit = forged_kms.manifest("@sha256:", ":")
    knobs = replace(OWN, edit_kms=edit)
    audited = asked(knobs, root_of(honest()), code_of(build(knobs)))
    assert result(audited, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE


def test_a_ca_key_gives_the_root_key_that_is_tied_to_it() -> None:
    audited = asked(OWN, honest().kms.ca_spki.hex())
    root = result(audited, "key_management.root")
    assert root.status is Status.PASS
    assert root.actual == named_kms(root_of(honest()), audited.question.reference).root_address  # type: ignore[union-attr]
