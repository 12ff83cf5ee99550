"""The attestation proof that an app publishes: imported whole, held against what was measured, and
believed in nothing."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.worlds.audited import GATEWAY, Audited, audit
from verifier.cli.target import parse_target
from verifier.collection import Sources, collect_evidence
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Kind
from verifier.evidence.guest.proof import parse_proof
from verifier.evidence.import_files import import_files
from verifier.lab import keys
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response, answer_json
from verifier.lab.world import DOMAIN, build
from verifier.model.result import Basis, CheckResult, SkipKind, Status, Verdict
from verifier.reference.values import embedded
from verifier.report.audit.proof import render_proof

CONSISTENCY = "application.consistency"
ROOT = "key_management.root"
Edit = Callable[[dict[str, Any]], object]


def published(honest: Audited, edit: Edit | None = None) -> bytes:
    document = json.loads(json.dumps(honest.world.proof))
    if edit is not None:
        edit(document)
    return json.dumps(document).encode()


def handed_over(honest: Audited, edit: Edit | None = None) -> Audited:
    return honest.handing_over([(Kind.PROOF, published(honest, edit))])


def result(audited: Audited, check_id: str) -> CheckResult:
    return audited.check(check_id)[0]


def test_it_is_fetched_where_it_is_published(honest: Audited) -> None:
    world = honest.world
    url = f"https://{world.app_id}-443.gw.lab.invalid/.well-known/attestation"
    sources = Sources(responder=world.respond, cloud=False, proof=url)
    bundle = collect_evidence(honest.question, sources, lambda: world.now)
    audited = honest.again(bundle)
    assert [item.source for item in bundle.of(Kind.PROOF)] == [url]
    assert audited.report.verdict is Verdict.AFFIRMING
    assert "app key" in result(audited, ROOT).summary
    assert not [item for item in audited.report.subjects[0].claims if item.name == "repository"]


def test_it_is_imported_whole_with_its_quote(honest: Audited) -> None:
    raw = published(honest)
    bundle = import_files([("proof.json", raw)], collected_at=1)
    assert [bundle.blob(item) for item in bundle.of(Kind.PROOF)] == [raw]
    quote = json.loads(raw)["attestation"]["td_quote"]
    assert [bundle.blob(item) for item in bundle.of(Kind.QUOTE)] == [base64.b64decode(quote)]


def set_in(part: str, **changes: object) -> Edit:
    return lambda document: document[part].update(changes)


def root_of(label: str) -> str:
    return "0x" + keys.k256_address(keys.k256(label)).hex()


def other_chain(document: dict[str, Any]) -> None:
    key = build().kms.app_key(b"\x07" * 20)
    document["kms_signature"].update(
        app_public_key=key.app_public_key.hex(), kms_signature=key.kms_signature.hex()
    )


FORGED: dict[str, tuple[Edit, str]] = {
    "config id": (set_in("attestation", mr_config_id="01" * 48), CONSISTENCY),
    "registers": (set_in("attestation", rtmr=["01" * 48] * 4), CONSISTENCY),
    "app": (set_in("deployment", custom_app_id="07" * 20), CONSISTENCY),
    "root": (set_in("kms_signature", kms_root_address=root_of("another")), CONSISTENCY),
    "repository": (set_in("source", repository="somebody/else"), CONSISTENCY),
    "commit": (set_in("source", commit="0123456"), CONSISTENCY),
    "branch": (set_in("source", branch="release"), CONSISTENCY),
    "instance": (set_in("deployment", cvm_id="07" * 20), CONSISTENCY),
    "a time to come": (lambda document: document.update(timestamp="2099-01-01"), CONSISTENCY),
    "chain of another app": (other_chain, ROOT),
}


@pytest.mark.parametrize("name", FORGED)
def test_parts_that_do_not_belong_together(honest: Audited, name: str) -> None:
    edit, check_id = FORGED[name]
    audited = handed_over(honest, edit)
    assert result(audited, check_id).status is Status.FAIL
    assert audited.report.verdict is Verdict.CONTRAINDICATED


def test_what_nothing_measured_speaks_of_is_only_said(honest: Audited) -> None:
    audited = handed_over(honest, set_in("source", branch="refs/heads/main"))
    assert result(audited, CONSISTENCY).status is Status.PASS
    said = {name: item for name, item in audited.claims().items() if name.startswith("proof_")}
    assert said.keys() == {"proof_timestamp", "proof_branch", "proof_kms_id", "proof_cvm_id"}
    assert {item.basis for item in said.values()} == {Basis.ASSERTED}
    words = handed_over(honest, lambda document: document.update(timestamp="last week"))
    assert result(words, CONSISTENCY).status is Status.PASS


def test_a_kms_by_what_people_call_it() -> None:
    called = {
        name: [row.name for row in embedded().kms if row.is_called(name)]
        for name in ("phala-prod7", "kms-base-prod7", "kms.cvm1.near.ai", "prod7", "base", "")
    }
    assert [len(found) for found in called.values()] == [1, 1, 1, 0, 0, 0]
    assert (called["phala-prod7"], called["kms-base-prod7"]) == (
        ["Phala Cloud, hosted"],
        ["Phala Cloud, Base"],
    )


def test_another_apps_proof_of_which_a_part_is_this_ones_is_no_other_apps(honest: Audited) -> None:
    other = json.loads(json.dumps(build(replace(honest.world.knobs, seed="other")).proof))
    audited = honest.handing_over([(Kind.PROOF, json.dumps(other).encode())])
    assert result(audited, CONSISTENCY).status is Status.WARN
    assert result(audited, ROOT).status is Status.PASS
    other["kms_signature"] = json.loads(published(honest))["kms_signature"]
    mixed = honest.handing_over([(Kind.PROOF, json.dumps(other).encode())])
    assert result(mixed, CONSISTENCY).status is Status.FAIL


def test_another_apps_proof_without_a_signature_is_not_of_a_kms_without_an_address(
    honest: Audited,
) -> None:
    other = json.loads(json.dumps(build(replace(honest.world.knobs, seed="other")).proof))
    del other["kms_signature"]
    known = honest.question.reference
    nameless = replace(known, kms=tuple(replace(row, root_address="") for row in known.kms))
    audited = honest.handing_over([(Kind.PROOF, json.dumps(other).encode())])
    assert result(audited.again(reference=nameless), CONSISTENCY).status is Status.WARN
    unknown = replace(known, kms=())
    assert result(audited.again(reference=unknown), CONSISTENCY).status is Status.WARN


def test_a_signature_is_about_the_app_that_the_proof_names(honest: Audited) -> None:
    """What is wrong is the app that it names: the KMS's root key signed for that one."""

    def of_another(document: dict[str, Any]) -> None:
        other_chain(document)
        document["deployment"].update(custom_app_id="07" * 20)

    for edit in (of_another, FORGED["app"][0]):
        found = result(handed_over(honest, edit), CONSISTENCY)
        assert found.status is Status.FAIL
        assert isinstance(found.actual, dict)
        named = {name.partition(" ")[0] for name in found.actual}
        assert named == {"app_id"} | ({"kms_root_address"} if edit is not of_another else set())
    unnamed = handed_over(honest, lambda document: document["deployment"].pop("custom_app_id"))
    assert result(unnamed, CONSISTENCY).status is Status.PASS


def without(part: str, *names: str) -> Edit:
    return lambda document: [document[part].pop(name) for name in names]


INCOMPLETE: dict[str, Edit] = {
    "registers without a quote": without("attestation", "td_quote"),
    "an address without a signature": without("kms_signature", "kms_signature"),
    "an address alone": without("kms_signature", "kms_signature", "app_public_key"),
    "a signature of no key": without("kms_signature", "app_public_key"),
    "a time without a quote": lambda document: document.pop("attestation"),
    "a commit without a repository": without("source", "repository", "branch"),
    "a branch without a repository": without("source", "repository", "commit"),
}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_a_part_that_says_nothing_without_another(honest: Audited, name: str) -> None:
    audited = handed_over(honest, INCOMPLETE[name])
    assert result(audited, CONSISTENCY).skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize(
    "names",
    [("kms_signature",), ("source",), ("deployment",), ("attestation", "timestamp")],
    ids=" ".join,
)
def test_what_is_left_out_whole_withholds_nothing(honest: Audited, names: tuple[str, ...]) -> None:
    audited = handed_over(honest, lambda document: [document.pop(name) for name in names])
    assert result(audited, CONSISTENCY).status is Status.PASS


def test_a_quote_of_another_td(honest: Audited) -> None:
    other = build(replace(honest.world.knobs, seed="other")).guest
    quote = base64.b64encode(other.cert_attestation.quote).decode()
    audited = handed_over(honest, set_in("attestation", td_quote=quote))
    assert result(audited, CONSISTENCY).status is Status.FAIL


@pytest.mark.parametrize("spelled", ["hex", "0x", "base64"])
def test_bytes_in_any_spelling(honest: Audited, spelled: str) -> None:
    def spell(value: bytes) -> str:
        if spelled == "base64":
            return base64.b64encode(value).decode()
        return ("0x" if spelled == "0x" else "") + value.hex()

    def edit(document: dict[str, Any]) -> None:
        attestation, signed = document["attestation"], document["kms_signature"]
        attestation["td_quote"] = spell(base64.b64decode(attestation["td_quote"]))
        attestation["mr_td"] = spell(bytes.fromhex(attestation["mr_td"]))
        signed["kms_signature"] = spell(bytes.fromhex(signed["kms_signature"][2:]))

    assert parse_proof(published(honest, edit), "p") == parse_proof(published(honest), "p")


MALFORMED: dict[str, Edit] = {
    "quote": set_in("attestation", td_quote="not a quote !"),
    "quote, a number": set_in("attestation", td_quote=5),
    "three registers": set_in("attestation", rtmr=["00" * 48] * 3),
    "registers, a text": set_in("attestation", rtmr="00"),
    "a short register": set_in("attestation", mr_td="00" * 47),
    "a short signature": set_in("kms_signature", kms_signature="00" * 64),
    "an address in a list": set_in("kms_signature", kms_root_address=["0x"]),
    "a long app id": set_in("deployment", custom_app_id="00" * 21),
    "attestation, a list": lambda document: document.update(attestation=[]),
    "source, a text": lambda document: document.update(source="repository"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_one_is_an_error_that_names_it(honest: Audited, name: str) -> None:
    with pytest.raises(EvidenceError, match="proof"):
        parse_proof(published(honest, MALFORMED[name]), "proof")
    audited = handed_over(honest, MALFORMED[name])
    assert result(audited, ROOT).status is Status.ERROR
    assert audited.report.verdict is Verdict.NONE


def test_one_of_several_instances_is_not_held_against_the_others() -> None:
    several = audit(Knobs(others=(Knobs(),)))
    for instance in ("", *several.world.instance_ids):
        raw = published(several, set_in("deployment", cvm_id=instance))
        audited = several.handing_over([(Kind.PROOF, raw)])
        assert audited.report.verdict is several.report.verdict
    others = {"rtmr": ["01" * 48] * 4, "mr_td": "01" * 48, "mr_config_id": "01" * 48}
    for name, value in others.items():
        raw = published(several, set_in("attestation", **{name: value}, td_quote=""))
        (found, *_) = several.handing_over([(Kind.PROOF, raw)]).check(CONSISTENCY)
        assert found.status is Status.FAIL


def written(audited: Audited) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_proof(audited.report))
    return found


def test_one_is_written_from_what_was_proven(honest: Audited) -> None:
    own, found = json.loads(published(honest)), written(handed_over(honest))
    quotes = [base64.b64decode(item["attestation"].pop("td_quote")) for item in (own, found)]
    assert found["attestation"] == own["attestation"]
    assert quotes[0].startswith(quotes[1])  # padding is no part of a quote
    assert found["deployment"] == {"custom_app_id": honest.world.app_id}
    assert found["source"]["repository"].endswith(own["source"]["repository"])
    assert parse_proof(json.dumps(found).encode(), "p").kms_root_address
    again = honest.handing_over([(Kind.PROOF, render_proof(handed_over(honest).report).encode())])
    assert again.report.verdict is Verdict.AFFIRMING


def test_what_was_not_proven_is_absent(honest: Audited) -> None:
    assert "kms_signature" not in written(honest)
    stated = handed_over(honest, set_in("source", branch="a branch", docker_compose="a file"))
    assert "a branch" not in json.dumps(written(stated))
    assert "cvm_id" not in json.dumps(written(stated))
    other = written(honest.again(app_id=None))
    assert "deployment" not in other
    nothing = written(honest.again(reference=embedded()))
    assert nothing.keys() == {"version", "timestamp"}
    contradicted = written(handed_over(honest, FORGED["chain of another app"][0]))
    assert "kms_signature" not in contradicted


@pytest.mark.parametrize(
    ("text", "proof", "domain"),
    [
        ("https://app.example/.well-known/attestation", True, "app.example"),
        ("https://app.example/.well-known/attestation/", True, "app.example"),
        ("https://app.example/", False, "app.example"),
        (f"https://{'07' * 20}-443.gw.example/.well-known/attestation", True, ""),
    ],
)
def test_a_target_may_be_its_address(text: str, proof: bool, domain: str) -> None:  # noqa: FBT001
    target = parse_target(text)
    assert bool(target.proof) is proof
    assert target.domain == domain
    assert target.proof in ("", text.rstrip("/"))


@pytest.mark.parametrize("mapped", [True, False], ids=["a TXT record", "none"])
def test_a_custom_domain_is_asked_for_it(honest: Audited, mapped: bool) -> None:  # noqa: FBT001
    world = honest.world

    def respond(method: str, url: str, headers: Any, body: bytes) -> Response:
        if "resolve?type=TXT" not in url:
            return world.respond(method, url, headers, body)
        name = f"_dstack-app-address.{DOMAIN}."
        record: Any = {"name": name, "type": 16, "TTL": 60, "data": f"{world.app_id}:443"}
        return answer_json(200, {"Status": 0, "Answer": [record]} if mapped else {"Status": 3})

    sources = Sources(domain=DOMAIN, gateways=(GATEWAY,), responder=respond, cloud=False)
    bundle = collect_evidence(honest.question, sources, lambda: world.now)
    assert len(bundle.of(Kind.PROOF)) == 1
    assert honest.again(bundle).report.verdict is Verdict.AFFIRMING
