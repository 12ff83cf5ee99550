"""Which key holder is meant: the one that the guest names, or the user, or the policy."""

import json
from collections.abc import Callable
from functools import cache
from typing import Final, cast

import pytest
from eth_utils.address import to_checksum_address
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import assert_noticed, assert_stands
from verifier.cli.question import named_kms
from verifier.collection import Sources, collect_evidence
from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms, runtime_code
from verifier.lab.history import KMS_ADDRESS
from verifier.lab.knobs import CHAIN_ID, DEFAULT_NOW, Knobs
from verifier.lab.response import Response
from verifier.lab.world import build
from verifier.model.result import CheckResult, SkipKind, Status, Verdict
from verifier.reference.values import Denied

PROVIDER: Final = "key_management.provider"
IDENTITY: Final = "application.identity"
CONTRACT: Final = f"{CHAIN_ID}:0x{KMS_ADDRESS.hex()}"
BEFORE_KEY_PROVIDERS: Final = "0.3.6"
OWN: Final = Knobs(kms="self-hosted", kms_answers="self-hosted")


@cache
def of(kms: str) -> Audited:
    """The audit of a guest whose keys come from a KMS of the lab, or from one of its own."""
    return audit(OWN if kms == "self-hosted" else Knobs(kms=kms))


def ca_key(kms: str) -> str:
    return build(Knobs(kms=kms)).kms.ca_spki.hex()


def root(kms: str) -> str:
    return "0x" + build(Knobs(kms=kms)).kms.root_address.hex()


def naming(audited: Audited, kms: str) -> Audited:
    return audited.again(kms=named_kms(kms, audited.question.reference))


def result(audited: Audited, check_id: str) -> CheckResult:
    return audited.check(check_id)[0]


@pytest.mark.parametrize("policy", ["genuine", "baseline"])
def test_one_that_nobody_knows_is_missing_evidence(policy: str) -> None:
    audited = of("self-hosted").under(policy)
    assert audited.report.verdict is Verdict.NONE
    for check_id in (IDENTITY, PROVIDER):
        assert result(audited, check_id).skip_kind is SkipKind.MISSING_EVIDENCE


def test_its_ca_key_names_one_that_has_no_contract() -> None:
    named = naming(of("self-hosted"), ca_key("self-hosted"))
    assert result(named, IDENTITY).status is Status.PASS
    assert result(named, PROVIDER).status is Status.PASS
    assert "named by the user" in result(named, PROVIDER).summary


def test_a_root_address_alone_ties_no_ca_key() -> None:
    named = naming(of("self-hosted"), root("self-hosted"))
    assert named.report.verdict is Verdict.NONE
    assert result(named, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize("kms", [CONTRACT, ca_key("onchain"), root("onchain")])
def test_a_known_one_by_any_of_its_names(kms: str) -> None:
    assert_stands(naming(of("onchain"), kms), IDENTITY, PROVIDER)
    assert_stands(of("onchain").under(f'[expect]\nkms = ["{kms}"]'), PROVIDER)


@pytest.mark.parametrize("policy", ["genuine", "baseline"])
@pytest.mark.parametrize("guest", ["hosted", "self-hosted"])
def test_another_one_than_was_named(guest: str, policy: str) -> None:
    named = naming(of(guest), CONTRACT).under(policy)
    assert named.report.verdict is Verdict.NONE
    why = result(named, IDENTITY).reason
    assert "Lab KMS, onchain" in why
    assert ("Lab KMS, hosted" if guest == "hosted" else ca_key(guest)[-16:]) in why
    assert result(named, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize("provider", ["none", "tpm", "local-sgx"])
def test_none_where_one_was_named_or_is_expected(provider: str) -> None:
    audited = audit(Knobs(key_provider=provider))  # type: ignore[arg-type]
    named = naming(audited, CONTRACT).under("genuine")
    assert named.report.verdict is Verdict.NONE
    expecting = audited.under(f'[expect]\nkms = ["{CONTRACT}"]')
    assert_noticed(expecting, PROVIDER, refusing=True)
    enclave = audited.world.knobs.enclave.hex() if provider == "local-sgx" else provider
    assert result(expecting, PROVIDER).actual == enclave


def test_a_release_that_measures_no_key_holder_names_no_other_than_the_expected_one() -> None:
    audited = audit(Knobs(version="0.3.5", key_provider="none"))
    expecting = audited.under(f'[expect]\nkms = ["{CONTRACT}"]')
    assert result(expecting, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE
    assert expecting.report.verdict is Verdict.NONE


@cache
def provided_by(name: str, app_id: bytes | None) -> Audited:
    """A guest that measures this key provider, as its page shows it."""
    payload = json.dumps({"name": name, "id": ""}, separators=(",", ":")).encode()

    def respond(_method: str, url: str, _body: bytes, response: Response) -> Response:
        if "-8090." not in url:
            return response
        shown = response.body
        for quote in (b'"', b"&#34;", b'\\"'):
            known = b"name" + quote + b":" + quote + b"none" + quote
            shown = shown.replace(known, known.replace(b"none", name.encode()))
        return replace(response, body=shown)

    measured = forge.measured_as("key-provider", payload)
    return audit(
        Knobs(app_id=app_id, key_provider="none", edit_events=measured, edit_response=respond)
    )


@pytest.mark.parametrize("policy", ["genuine", "baseline"])
@pytest.mark.parametrize("app_id", [None, b"\x77" * 20], ids=["own id", "another id"])
def test_one_of_a_kind_that_nobody_knows_is_missing_evidence(
    app_id: bytes | None, policy: str
) -> None:
    audited = provided_by("vault", app_id).under(policy)
    assert result(audited, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE
    assert "vault" in result(audited, PROVIDER).summary
    assert (result(audited, IDENTITY).skip_kind is SkipKind.MISSING_EVIDENCE) is (
        app_id is not None
    )
    assert not [item for item in audited.report.subjects[0].checks if item.status is Status.FAIL]
    if policy == "baseline" or app_id:
        assert audited.report.verdict is Verdict.NONE


@pytest.mark.parametrize("app_id", [None, b"\x77" * 20], ids=["own id", "another id"])
def test_one_of_a_known_kind_that_keeps_no_keys(app_id: bytes | None) -> None:
    found = result(provided_by("none", app_id), PROVIDER)
    assert found.skip_kind is (SkipKind.NOT_APPLICABLE if app_id is None else None)
    assert (found.status is Status.FAIL) is (app_id is not None)


@pytest.mark.parametrize("guest", ["hosted", "self-hosted"])
@pytest.mark.parametrize("kms", [CONTRACT, ca_key("onchain"), root("onchain")])
def test_another_one_than_is_expected(guest: str, kms: str) -> None:
    audited = of(guest).under(f'[expect]\nkms = ["{kms}"]')
    assert_noticed(audited, PROVIDER, refusing=True)
    assert result(audited, PROVIDER).actual == ca_key(guest)
    assert audited.report.verdict is Verdict.CONTRAINDICATED


@pytest.mark.parametrize("other", [f"{CHAIN_ID}:0x{'77' * 20}", f"0x{'77' * 20}"])
def test_whether_it_is_a_contract_or_root_key_that_nobody_asked(other: str) -> None:
    audited = of("self-hosted").under(f'[expect]\nkms = ["{other}"]')
    assert audited.report.verdict is Verdict.NONE
    assert result(audited, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE


def test_the_guests_word_is_no_expected_one() -> None:
    audited = audit(Knobs(edit_response=forge.no_certificate))
    expecting = audited.under(f'[expect]\nkms = ["{CONTRACT}"]')
    if result(audited, IDENTITY).status is Status.WARN:
        assert result(expecting, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize("kind", ["ca-spki", "k256-address"])
@pytest.mark.parametrize("policy", ["genuine", "baseline"])
def test_a_denied_one_fails_always(kind: str, policy: str) -> None:
    record = next(row for row in of("onchain").question.reference.kms if row.contract)
    value = {"ca-spki": record.ca_spki, "k256-address": record.root_address}[kind]
    audited = audit(Knobs(), denied=forge.denying(kind, lambda _: value)).under(policy)
    assert audited.report.verdict is Verdict.CONTRAINDICATED
    assert_noticed(audited, IDENTITY, refusing=True)
    assert_noticed(naming(audited, CONTRACT), IDENTITY, refusing=True)
    named = audited.again(
        kms=replace(named_kms(CONTRACT, audited.question.reference), ca_spki="")  # type: ignore[type-var]
    )
    assert_noticed(named, IDENTITY, refusing=True)


@pytest.mark.parametrize("whose", ["onchain", "hosted"])
def test_a_denied_root_key_fails_though_only_the_contract_names_it(whose: str) -> None:
    def without_roots(reference: JsonObject) -> JsonObject:
        rows = cast("list[JsonObject]", reference["kms"])
        return {**reference, "kms": [{**row, "k256": "", "root_address": ""} for row in rows]}

    records = {row.name: row.root_address for row in of("onchain").question.reference.kms}
    denied = forge.denying("k256-address", lambda _: records[f"Lab KMS, {whose}"])
    audited = audit(Knobs(), denied=denied, reference=without_roots)
    expected = (Status.FAIL, Verdict.CONTRAINDICATED)
    if whose == "hosted":
        expected = (Status.PASS, Verdict.AFFIRMING)
    found = result(audited, "key_management.root")
    assert (found.status, audited.report.verdict) == expected


def without_contracts(reference: JsonObject) -> JsonObject:
    """Reference values that know no KMS with a contract."""
    rows = cast("list[JsonObject]", reference["kms"])
    return {**reference, "kms": [row for row in rows if not row["contract"]]}


def behind_unknown_proxy(chain: Chain, _app: DstackApp, kms: DstackKms) -> None:
    """The KMS's proxy is of unknown code that shows an honest implementation."""
    code = runtime_code("a proxy of its own")
    chain.define(code, lambda *call: chain.run(runtime_code("proxy"), *call[1:]))
    chain.set_code(forge.days_ago(chain, 290), kms.address, code)


def test_a_named_contract_behind_a_proxy_of_unknown_code_is_doubted() -> None:
    for edit, status in ((None, Status.PASS), (behind_unknown_proxy, Status.WARN)):
        audited = audit(Knobs(edit_chain=edit), reference=without_contracts)
        kms = named_kms(CONTRACT, audited.question.reference)
        sources = Sources(responder=audited.world.respond, cloud=False)
        asked = replace(audited.question, kms=kms)
        bundle = collect_evidence(asked, sources, lambda: DEFAULT_NOW)
        found = result(audited.again(bundle, kms=kms), "authorization.contract")
        assert found.status is status
        assert ("is not a known proxy" in found.summary) is (status is Status.WARN)


def confirmed(knobs: Knobs) -> Audited:
    """The audit by who names a contract, and holds no value of the KMS behind it."""

    def without_contracts(document: JsonObject) -> JsonObject:
        rows = [row for row in cast("list[JsonObject]", document["kms"]) if not row.get("contract")]
        return {**document, "kms": [*rows]}

    audited = audit(knobs, reference=without_contracts)
    named = named_kms(CONTRACT, audited.question.reference)
    sources = Sources(
        responder=audited.world.respond, handshakes=audited.world.handshake, cloud=False
    )
    question = replace(audited.question, kms=named)
    bundle = collect_evidence(question, sources, lambda: DEFAULT_NOW)
    return audited.again(bundle, kms=named)


def test_the_contract_that_is_named_confirms_the_measured_ca_key() -> None:
    assert result(confirmed(Knobs()), PROVIDER).status is Status.PASS


@pytest.mark.parametrize("spelled", [str.lower, to_checksum_address])
def test_a_denied_root_key_fails_though_only_the_contract_tells_it(
    spelled: Callable[[str], str],
) -> None:
    audited = confirmed(Knobs())
    value = spelled(root("onchain"))
    row = Denied(kind="k256-address", value=value, why="w", source="s", date="2026-06-15")
    denied = audited.again(reference=replace(audited.question.reference, denied=(row,)))
    assert result(audited, "key_management.root").status is Status.PASS
    assert result(denied, PROVIDER).status is Status.PASS
    assert result(denied, "key_management.root").status is Status.FAIL


def test_a_release_that_measures_no_key_holder_contradicts_no_expected_one() -> None:
    audited = audit(Knobs(version=BEFORE_KEY_PROVIDERS))
    for asked in (audited, audited.under(f'[expect]\nkms = ["{CONTRACT}"]')):
        assert result(asked, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE
        assert "measures no key provider" in result(asked, PROVIDER).summary


@pytest.mark.parametrize("published", [b"\x30" * 91, b""], ids=["another", "none"])
def test_a_contract_that_does_not_hold_the_measured_ca_key_confirms_nothing(
    published: bytes,
) -> None:
    audited = confirmed(Knobs(ca_pubkey=published))
    assert result(audited, PROVIDER).skip_kind is SkipKind.MISSING_EVIDENCE
    assert audited.report.verdict is Verdict.NONE


def test_a_ca_key_that_is_known_is_no_other_ones() -> None:
    """Whoever names a contract gets no say about the CA key of a KMS that is known."""
    audited = of("hosted")
    known = named_kms(CONTRACT, audited.question.reference)
    assert known is not None
    record = replace(known, ca_spki="", name="any")
    named = audited.again(kms=record)
    assert "hosted" in result(named, IDENTITY).reason
    assert named.report.verdict is Verdict.NONE
