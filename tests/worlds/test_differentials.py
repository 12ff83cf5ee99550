"""Forgeries that live between two readers, two fields or two settings of one audit."""

import time
from collections.abc import Mapping
from urllib.parse import quote, unquote

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.cli.question import simulated_reference
from verifier.collection import Sources, collect_evidence
from verifier.errors import EvidenceError, PolicyError
from verifier.evidence import codec
from verifier.evidence.bundle import Bundle, Kind
from verifier.evidence.chain import contracts
from verifier.evidence.guest.page import parse_page
from verifier.lab import forgeries as forge
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.world import World, build
from verifier.model.identifiers import AppId
from verifier.model.report import Report
from verifier.model.result import Requirement, Status, Verdict
from verifier.policy.policy import load_policy

CHAIN_HEADERS = ("tcb-info-issuer-chain", "sgx-enclave-identity-issuer-chain")


def checks(report: Report) -> dict[str, Status]:
    return {check.id: check.status for check in report.subjects[0].checks}


def question(world: World, **changes: object) -> Question:
    fields = {
        "app_id": AppId(world.app_id),
        "reference": simulated_reference(world.reference()),
        "at": world.now,
        "trusted": True,
    }
    return Question(**(fields | changes))  # type: ignore[arg-type]


def collected(world: World, **sources: object) -> Bundle:
    asked = Sources(responder=world.respond, cloud=False, **sources)  # type: ignore[arg-type]
    return collect_evidence(question(world), asked, lambda: world.now)


@pytest.mark.parametrize("label", ["FOO", "TRUSTED CERTIFICATE"])
def test_a_signing_chain_that_two_pem_readers_read_differently(label: str) -> None:
    def hidden_leaf(_method: str, _url: str, _raw: bytes, response: Response) -> Response:
        headers = dict(response.headers)
        for name in [key for key in headers if key.lower() in CHAIN_HEADERS]:
            own = unquote(headers[name])
            leaf, rest = own.split("-----END CERTIFICATE-----\n", 1)
            relabelled = leaf.replace("CERTIFICATE", label) + f"-----END {label}-----\n"
            headers[name] = quote(relabelled + genuine[name.lower()] + rest)
        return Response(status=response.status, headers=headers, body=response.body)

    genuine = {
        name.lower(): unquote(value).split("-----END CERTIFICATE-----\n")[0]
        + "-----END CERTIFICATE-----\n"
        for artifact in collected(build()).artifacts
        for name, value in artifact.headers
    }
    audited = audit(Knobs(tcb_signer="pck", edit_response=hidden_leaf))
    assert checks(audited.report)["hardware.quote"] is Status.FAIL


def test_a_quoting_enclave_that_needs_configuration() -> None:
    audited = audit(Knobs(qe_status="ConfigurationNeeded"))
    assert checks(audited.report)["hardware.tcb"] is Status.FAIL
    stated = {claim.name: claim.value for claim in audited.report.subjects[0].claims}
    assert stated["tcb_status"] == "ConfigurationNeeded"


def test_a_td_whose_current_tcb_is_out_of_date() -> None:
    svn = bytes.fromhex("0300020000") + bytes(11)
    audited = audit(Knobs(quote_format="v5-td15", edit_td=forge.td(tee_tcb_svn2=svn)))
    assert checks(audited.report)["hardware.tcb"] is Status.FAIL
    honest = audit(Knobs(quote_format="v5-td15"))
    assert checks(honest.report)["hardware.tcb"] is Status.PASS


@pytest.mark.parametrize(
    "urls",
    [
        ("https://rpc-a.lab.invalid", "https://rpc-a.lab.invalid:443"),
        ("https://rpc-a.lab.invalid", "https://rpc-a.lab.invalid./"),
        ("https://rpc-a.lab.invalid", "https://rpc-a.lab.invalid/v2/key"),
    ],
)
def test_one_operator_under_two_names(urls: tuple[str, str]) -> None:
    world = build()

    def respond(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        host = "https://rpc-a.lab.invalid/"
        return world.respond(method, host if "rpc-a" in url else url, headers, body)

    sources = Sources(responder=respond, cloud=False, rpc_urls=urls)
    bundle = collect_evidence(question(world), sources, lambda: world.now)
    report = audit_bundle(bundle, world.app_id, question(world), load_policy("baseline"))
    assert report.verdict is Verdict.WARNING


def test_an_event_of_a_contract_that_anybody_wrote_bounds_no_age() -> None:
    world = build(Knobs(edit_chain=forge.foreign_contract))
    report = audit_bundle(collected(world), "x", question(world), load_policy("genuine"))
    assert checks(report)["hardware.freshness"] is Status.WARN
    assert report.verdict is not Verdict.AFFIRMING


def test_a_debug_replica_beside_a_production_one() -> None:
    honest = build(Knobs(no_instance_id=True))
    debug = build(Knobs(no_instance_id=True, edit_td=forge.td(td_attributes=(1 << 28) | 1)))

    def respond(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        world = debug if "GetAttestationForAppKey" in url else honest
        return world.respond(method, url, headers, body)

    sources = Sources(responder=respond, cloud=False)
    bundle = collect_evidence(question(honest), sources, lambda: honest.now)
    report = audit_bundle(bundle, honest.app_id, question(honest), load_policy("baseline"))
    assert checks(report)["application.consistency"] is Status.FAIL


def test_an_expectation_decides_whatever_the_policy_asks(honest: Audited) -> None:
    base = load_policy("genuine")
    asked = {key: value for key, value in base.checks.items() if key != "hardware.tcb"}
    policy = replace(
        base,
        checks={**asked, "hardware.tcb": Requirement.NOT_ASKED},
        demands=replace(base.demands, expect={"device": ("00" * 32,)}),
    )
    report = audit_bundle(honest.bundle, "x", honest.question, policy)
    assert report.verdict is Verdict.CONTRAINDICATED


@pytest.mark.parametrize(
    "document",
    [
        'extends = "baseline"\n[checks]\n"authorisation.allowed" = "required"\n',
        'extends = "baseline"\n[expect]\ncompose_hash = []\n',
        'extends = "baseline"\naccept = 5\n',
        'extends = "baseline"\naccept = ["none"]\n',
        'extends = "baseline"\n[tcb]\nminimum_evaluation_number = 99999999999999999999\n',
        "a = " + "[" * 5000,
    ],
)
def test_policies_that_would_ask_for_nothing(
    honest: Audited, tmp_path_factory: pytest.TempPathFactory, document: str
) -> None:
    path = tmp_path_factory.mktemp("policy") / "policy.toml"
    path.write_text(document)
    with pytest.raises(PolicyError):
        audit_bundle(honest.bundle, "x", honest.question, load_policy(str(path)))


def test_an_option_narrows_what_the_policy_expects() -> None:
    policy = load_policy("baseline").expecting({"app_id": ("11" * 20, "22" * 20)})
    assert policy.expecting({"app_id": ("22" * 20,)}).demands.expect["app_id"] == ("22" * 20,)
    with pytest.raises(PolicyError):
        policy.expecting({"app_id": ("33" * 20,)})


def test_another_instance_than_the_one_asked_for() -> None:
    world = build()
    bundle = collected(world)
    for instance, status in (("11" * 20, Status.SKIP), (world.instance_ids[0], Status.PASS)):
        asked = question(world, instances=(instance,))
        report = audit_bundle(bundle, world.app_id, asked, load_policy("baseline"))
        assert checks(report)["application.identity"] is status


def test_the_certificate_beside_a_challenged_quote_is_bound_itself() -> None:
    challenge = b"\x42" * 32
    audited = audit(
        Knobs(app_key_report_data=challenge + bytes(32), cert_report_data=b"\x11" * 64),
        challenge=challenge,
    )
    assert checks(audited.report)["key_management.certificate"] is Status.FAIL


@pytest.mark.parametrize(
    "text",
    [
        "&#" + "9" * 5000 + ";",
        "charset=" + " " * 200_000 + "!",
        '<div class="info-row">' * 5_000,
        "<textarea readonly>" * 50_000,
        "<" * 100_000,
    ],
    ids=["reference", "charset", "rows", "textareas", "tags"],
)
def test_a_page_costs_no_more_than_its_size(text: str) -> None:
    start = time.process_time()
    with pytest.raises(EvidenceError):
        parse_page(f"<h2>TCB Info</h2>{text}".encode(), "page")
    assert time.process_time() - start < 2


def test_a_doubled_key_is_found_in_linear_time() -> None:
    text = "{" + ",".join(f'"{key}":0' for key in range(200_000)) + ',"199999":1}'
    start = time.process_time()
    with pytest.raises(EvidenceError, match="199999"):
        codec.parse_json(text, "document")
    assert time.process_time() - start < 5


def test_quantities_and_times_are_bounded() -> None:
    for value in ("0x1" + "0" * 16, "0x" + "f" * 20, "0x-1", "0x01"):
        with pytest.raises(EvidenceError):
            contracts.decode_quantity(value, "x")
    with pytest.raises(EvidenceError):
        contracts.decode_time("0x" + "f" * 16, "x")


def test_a_node_that_adds_block_times_beside_one_that_does_not() -> None:
    world = build()

    def respond(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        response = world.respond(method, url, headers, body)
        if "rpc-b" in url:
            stripped = response.body.replace(b'"blockTimestamp"', b'"x"')
            return Response(status=response.status, headers=response.headers, body=stripped)
        return response

    sources = Sources(responder=respond, cloud=False)
    bundle = collect_evidence(question(world), sources, lambda: world.now)
    report = audit_bundle(bundle, world.app_id, question(world), load_policy("baseline"))
    held = checks(report)
    assert held["authorization.contract"] is Status.PASS
    assert held["hardware.freshness"] is Status.WARN


def test_keys_in_endpoints_stay_out_of_the_bundle() -> None:
    world = build()
    urls = ("https://Keyed.example/v2/SECRET", "https://other.example:443/SECRET?key=SECRET")

    def respond(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        if "example" in url:
            return Response(status=403, headers={}, body=f"bad key at {url}".encode())
        return world.respond(method, url, headers, body)

    sources = Sources(responder=respond, cloud=False, rpc_urls=urls)
    bundle = collect_evidence(question(world), sources, lambda: world.now)
    assert bundle.of(Kind.INFO)
    assert any(item.kind is Kind.JSON_RPC and item.error for item in bundle.artifacts)
    assert b"SECRET" not in bundle.manifest
