"""What the recorded evidence proves, and what it does not."""

import json

import pytest

from tests.evidence.recorded import audit, checks, claims, needs_recorded, read, statuses
from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.evidence.chain.ethereum import key_address, recover_key
from verifier.evidence.guest import kms_answers
from verifier.evidence.guest.page import parse_page
from verifier.evidence.guest.tcb_info import parse_info
from verifier.evidence.import_files import import_files
from verifier.evidence.subject import read_subject
from verifier.evidence.td.event_log import RUNTIME_IMR, parse_event_log, replay, runtime_digest
from verifier.evidence.td.measurements import mr_aggregated, mr_config_id_v1
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import EXT_APP_ID, EXT_QUOTE, leaf_report_data, parse_chain, spki
from verifier.model.identifiers import parse_time
from verifier.model.result import SkipKind
from verifier.policy.policy import load_policy
from verifier.reference.values import embedded

pytestmark = needs_recorded

REPLAYED = ("hardware.quote", "hardware.td", "boot.registers", "runtime.replay", "runtime.events")
EV18 = ("2026-04-24T23:00", "collateral/tdx_90C06F000000_2026-04-24_ev18.json", 18)
EV19 = ("2026-06-10T23:00", "collateral/tdx_90C06F000000_2026-06-10_ev19.json", 19)
EV20 = ("2026-08-21", "collateral/tdx_90C06F000000_2026-08-20_ev20.json", 20)
B0_EV18 = ("2026-04-24T23:00", "collateral/tdx_B0C06F000000_2026-04-24_ev18.json", 18)
B0_EV19 = ("2026-06-10T23:00", "collateral/tdx_B0C06F000000_2026-06-10_ev19.json", 19)
NVIDIA = ("info/info_dstack-nvidia-0.5.5.json", "2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b")
NVIDIA_DEV = (
    "info/info_dstack-nvidia-dev-0.5.7-477b919d.json",
    "0854a37ffa670d8469c6cb3d974dcb909015019d",
)
OS_054 = ("info/info_os-da9a3d5c.json", "f550fdfb4eb8ad787c1bcd423f091cbb4a4431ae")
BASE_KMS = ("kms/info_prod6BaseV053.json", "c641a1e848a948828eb5a56f440bcccd2afb3c31")
PHALA_KMS = ("kms/info_prod6PhalaV054.json", "d0d4381c20e4f4bd42ac218c62c70c8550592f53")
INFOS = [path for path, _ in (NVIDIA, NVIDIA_DEV, OS_054, BASE_KMS, PHALA_KMS)]
PAGES = {
    "2026-03-10": "1d75c88b",
    "2026-03-23": "14e67b39",
    "2026-04-23": "61af63ca",
}
NEAR = {
    "2025-12-11_1b075a77b": "2025-11-19",
    "2026-02-18_3e1eb3ffd": "2026-02-18",
    "2026-03-23_d84519915": "2026-03-23T21:17:00",
}


def near_files(name: str) -> tuple[str, ...]:
    return tuple(
        f"near-mpc/{name}/{part}.json"
        for part in ("app_compose", "tcb_info", "collateral", "quote")
    )


@pytest.mark.parametrize(("name", "at"), NEAR.items())
def test_node_with_a_local_key_provider(name: str, at: str) -> None:
    manifest_hash = json.loads(read(f"near-mpc/{name}/tcb_info.json"))["compose_hash"]
    report = audit(at, manifest_hash[:40], *near_files(name))
    assert statuses(report, *REPLAYED) == ["pass"] * 5
    assert statuses(report, "application.identity", "application.manifest") == ["pass"] * 2
    assert "MRCONFIGID (version 1)" in checks(report)["application.manifest"].summary
    assert "mpc-image-digest" in checks(report)["runtime.events"].summary
    found = claims(report)
    assert found["tcb_status"] == ("UpToDate", "hardware")
    assert found["compose_hash"] == (manifest_hash, "asserted")  # under a development image
    assert found["app_id"] == (manifest_hash[:40], "unknown")
    assert found["instance_id"] == ("", "unknown")
    provider = found["key_provider"][0]
    assert isinstance(provider, dict)
    assert provider["name"] == "local-sgx"
    assert str(provider["id"]).startswith("1b7a4937")
    provider_check = checks(report)["key_management.provider"]
    assert provider_check.skip_kind is not None
    assert provider_check.skip_kind.value == "not-applicable"


@pytest.mark.parametrize(
    ("name", "release"),
    [*zip(NEAR, ("dev-0.5.4", "dev-0.5.4", "dev-0.5.7"), strict=True)],
)
def test_a_development_image_fails(name: str, release: str) -> None:
    report = audit(NEAR[name], None, *near_files(name))
    assert statuses(report, "boot.image") == ["fail"]
    assert release in checks(report)["boot.image"].summary
    assert report.verdict.value == "contraindicated"


@pytest.mark.parametrize("name", NEAR)
def test_a_machine_that_nobody_states_is_found(name: str) -> None:
    found = checks(audit(NEAR[name], None, *near_files(name)))["boot.machine"]
    assert found.status.value == "pass"
    assert "8 vCPU, 64 GiB" in found.summary
    assert "found by search" in found.summary


@pytest.mark.parametrize("at", ["2026-02-17T00:00", "2026-03-25"])
def test_collateral_is_in_force_only_in_its_window(at: str) -> None:
    report = audit(at, None, *near_files("2026-02-18_3e1eb3ffd"))
    assert statuses(report, "hardware.quote", "runtime.replay") == ["skip", "skip"]
    assert "--at 2026-03-" in checks(report)["hardware.quote"].remediation
    assert report.verdict.value == "none"
    assert claims(report)["app_id"][1] == "asserted"


@pytest.mark.parametrize(
    ("info", "collateral", "status"),
    [
        *((NVIDIA, item, "UpToDate") for item in (EV18, EV19, EV20)),
        *((NVIDIA_DEV, item, "UpToDate") for item in (EV18, EV19)),
        (NVIDIA_DEV, EV20, "OutOfDate"),
        *((OS_054, item, "OutOfDate") for item in (B0_EV18, B0_EV19)),
        *((item, EV18, "UpToDate") for item in (BASE_KMS, PHALA_KMS)),
        *((item, EV19, "UpToDate") for item in (BASE_KMS, PHALA_KMS)),
        *((item, EV20, "OutOfDate") for item in (BASE_KMS, PHALA_KMS)),
    ],
)
def test_info_answers(info: tuple[str, str], collateral: tuple[str, str, int], status: str) -> None:
    (path, app_id), (at, endorsements, number) = info, collateral
    report = audit(at, app_id, path, endorsements)
    assert statuses(report, *REPLAYED) == ["pass"] * 5
    assert (
        statuses(
            report,
            "application.identity",
            "application.manifest",
            "application.binding",
            "application.consistency",
        )
        == ["pass"] * 4
    )
    found = claims(report)
    assert found["tcb_status"] == (status, "hardware")
    assert found["tcb_evaluation_number"] == (number, "hardware")
    assert found["app_id"] == (app_id, "asserted" if info == NVIDIA_DEV else "measured")
    assert statuses(report, "hardware.tcb") == ["pass" if status == "UpToDate" else "fail"]


@pytest.mark.parametrize(
    ("info", "collateral", "image", "release"),
    [
        (NVIDIA, EV19, "warn", "nvidia-0.5.5"),
        (NVIDIA_DEV, EV19, "fail", "nvidia-dev-0.5.7"),
        (OS_054, B0_EV19, "pass", "0.5.4"),
        (("kms/info_prod10-pha.json", ""), B0_EV19, "warn", "0.5.4.1"),
        (("kms/info_use1-base.json", ""), EV19, "warn", "0.5.4.1"),
        (BASE_KMS, EV19, "warn", "0.5.3"),
        (PHALA_KMS, EV19, "pass", "0.5.4"),
    ],
)
def test_images_of_info_answers(
    info: tuple[str, str], collateral: tuple[str, str, int], image: str, release: str
) -> None:
    report = audit(collateral[0], info[1] or None, info[0], collateral[1])
    assert statuses(report, "boot.image", "boot.machine") == [image, "pass"]
    assert release in checks(report)["boot.image"].summary


def test_another_app_than_the_one_asked_for() -> None:
    report = audit(EV19[0], NVIDIA_DEV[1], NVIDIA[0], EV19[1])
    assert statuses(report, "application.identity") == ["fail"]
    assert report.verdict.value == "contraindicated"


def test_a_hosted_kms_issued_the_certificate() -> None:
    report = audit(EV19[0], NVIDIA_DEV[1], NVIDIA_DEV[0], EV19[1])
    assert statuses(report, "key_management.provider", "key_management.certificate") == [
        "pass",
        "pass",
    ]
    assert statuses(report, "authorization.contract") == ["warn"]


def test_of_two_evaluations_the_newer_one_judges() -> None:
    """Both sets are in force in this window: the kinder, older one is not preferred."""
    at = "2026-06-15"
    report = audit(at, NVIDIA[1], NVIDIA[0], EV18[1], EV19[1])
    assert claims(report)["tcb_evaluation_number"] == (19, "hardware")


def test_two_answers_are_kept_under_one_subject() -> None:
    report = audit(EV19[0], NVIDIA[1], NVIDIA[0], NVIDIA_DEV[0], EV19[1])
    assert [subject.name for subject in report.subjects] == [""]
    assert len([item for item in report.sources if item.kind == "info"]) == 2
    assert statuses(report, "application.consistency") == ["fail"]


@pytest.mark.parametrize("collateral", [EV18, EV19, EV20])
def test_get_quote_answer_with_an_event_of_the_app(collateral: tuple[str, str, int]) -> None:
    app_id = "3763bc34552cf3a27ff71ad5f7a90471562a1a2d"
    report = audit(collateral[0], None, "getquote/quote-report.json", collateral[1])
    assert statuses(report, *REPLAYED) == ["pass"] * 5
    assert "1 of the app's own, ignored: LIUM_MINER_HOTKEY" in (
        checks(report)["runtime.events"].summary
    )
    assert claims(report)["tcb_status"] == ("UpToDate", "hardware")
    assert statuses(report, "boot.image") == ["skip"]
    assert claims(report)["app_id"] == (app_id, "unknown")
    assert statuses(report, "application.manifest", "application.binding") == ["skip", "skip"]


@pytest.mark.parametrize(("date", "manifest_hash"), PAGES.items())
def test_a_page_alone_proves_nothing(date: str, manifest_hash: str) -> None:
    app_id = "db82f581256a3c9244c4d7129a67336990d08cdf"
    report = audit("2026-05-01", app_id, f"8090-page/hermes_{date}.html")
    assert report.verdict.value == "none"
    assert statuses(report, "hardware.quote", "runtime.replay") == ["skip", "skip"]
    found = claims(report)
    assert {basis for _, basis in found.values()} == {"asserted"}
    assert str(found["compose_hash"][0]).startswith(manifest_hash)


@pytest.mark.parametrize("date", PAGES)
def test_a_page_replays_against_its_own_registers(date: str) -> None:
    page = parse_page(read(f"8090-page/hermes_{date}.html"), "page")
    assert page.labels["Operating System"] == "DStack 0.5.5"
    assert page.app_cert == ""
    assert page.tcb_info is not None
    events = parse_event_log(page.tcb_info.event_log, "log")
    for imr in range(4):
        digests = [
            runtime_digest(event) if event.is_runtime else event.digest or b""
            for event in events
            if event.imr == imr
        ]
        assert replay(digests).hex() == page.tcb_info.stated[f"rtmr{imr}"]
    payloads = {event.name: event.payload.hex() for event in events if event.imr == RUNTIME_IMR}
    assert payloads["os-image-hash"].startswith("e18f5407")
    assert payloads["compose-hash"] == page.tcb_info.stated["compose_hash"]
    assert len(payloads["mr-kms"]) == 64


def test_a_genuine_quote_of_no_dstack_app() -> None:
    report = audit("2025-06-20", None, "dcap-qvl/tdx_quote", "dcap-qvl/tdx_quote_collateral.json")
    assert statuses(report, "hardware.quote", "boot.image") == ["pass", "skip"]
    assert claims(report)["tcb_status"] == ("UpToDate", "hardware")
    assert report.verdict.value == "none"


@pytest.mark.parametrize("at", ["2026-02-20", "2026-03-18T00:00"])
def test_a_platform_that_matches_no_level(at: str) -> None:
    report = audit(
        at, None, "dcap-qvl/tdx_quote_outdated", "dcap-qvl/tdx_quote_outdated_collateral.json"
    )
    assert statuses(report, "hardware.quote") == ["fail"]
    assert "No matching TCB level" in checks(report)["hardware.quote"].reason
    assert report.verdict.value == "contraindicated"


def test_signature_chain_recovers_to_the_base_root() -> None:
    raw = read("kms/signature_chain.json")
    chain = kms_answers.parse_signature_chain(raw, "chain")
    app_key = recover_key(
        kms_answers.derived_key_digest(chain.purpose, chain.derived_public_key),
        chain.app_signature,
        "app",
    )
    assert app_key == chain.app_public_key
    root = recover_key(
        kms_answers.app_key_digest(chain.app_id, app_key), chain.kms_signature, "kms"
    )
    assert root == chain.kms_public_key
    assert key_address(root) == "0x52d3CF51c8A37A2CCfC79bBb98c7810d7Dd4CE51"
    other = recover_key(kms_answers.app_key_digest(bytes(20), app_key), chain.kms_signature, "kms")
    assert key_address(other) != chain.kms_root_address


def test_the_simulator_is_denied_although_its_quote_verifies() -> None:
    report = audit(
        B0_EV19[0],
        "5bb4ff9a3837357f19dc176407a5709c62eb6c56",
        "simulator/attestation.bin",
        "simulator/app-compose.json",
        B0_EV19[1],
    )
    assert statuses(report, "hardware.quote", "runtime.replay") == ["pass", "pass"]
    found = checks(report)
    for check_id in ("application.identity", "key_management.provider"):
        assert found[check_id].status.value == "fail"
        assert "simulator" in found[check_id].summary
    assert statuses(report, "application.manifest") == ["fail"]
    assert report.verdict.value == "contraindicated"


@pytest.mark.parametrize("path", INFOS)
def test_derived_values_of_info_answers(path: str) -> None:
    info = parse_info(read(path), "info")
    chain = parse_chain(info.app_cert, "certificate")
    quote = parse_quote(chain.leaf[EXT_QUOTE], "quote")
    assert mr_aggregated(quote).hex() == info.stated["mr_aggregated"]
    assert quote.mr_config_id == mr_config_id_v1(bytes.fromhex(info.stated["compose_hash"]))
    assert quote.report_data == leaf_report_data(spki(chain.certificates[0]))
    expected_app_id = None if path.startswith("kms/") else info.stated["app_id"]
    assert (chain.leaf[EXT_APP_ID].hex() if EXT_APP_ID in chain.leaf else None) == expected_app_id


def test_a_log_stripped_to_its_acpi_events() -> None:
    app_id = "86b0e55f2fa8e4fb69d890f14f54d5612707646e"
    files = ("attestation/tdx-lite-attestation.json", EV19[1])
    report = audit("2026-06-11", app_id, *files, policy="genuine")
    found = checks(report)
    assert found["boot.registers"].skip_kind is SkipKind.NOT_APPLICABLE
    assert (
        statuses(report, "hardware.quote", "runtime.replay", "application.identity") == ["pass"] * 3
    )
    assert statuses(report, "boot.image", "application.consistency") == ["skip", "warn"]
    # Its firmware is a build that no release is known to have.
    assert found["boot.machine"].skip_kind is SkipKind.MISSING_EVIDENCE
    assert "another OS image" in found["application.consistency"].summary
    assert report.verdict.value == "none"


def test_an_app_of_0_3_measures_no_key_provider() -> None:
    names = ("quote.hex", "quote_collateral.json", "tcb_info.json")
    files = [f"v03-app/{name}" for name in names]
    app_id = str(claims(audit("2025-09-01", None, *files))["app_id"][0])
    report = audit("2025-09-01", app_id, *files)
    for check_id in ("application.identity", "key_management.provider"):
        result = checks(report)[check_id]
        assert result.skip_kind is SkipKind.MISSING_EVIDENCE
        assert "measures no key provider" in result.summary
    # The memory that the firmware of 0.3 accepts is not known.
    assert checks(report)["boot.machine"].skip_kind is SkipKind.MISSING_EVIDENCE
    assert report.verdict.value == "none"


def near_object(name: str) -> dict[str, object]:
    """A near/mpc set as its nodes show it: binary fields as arrays of integers."""
    quote = json.loads(read(f"near-mpc/{name}/quote.json"))
    collateral = json.loads(read(f"near-mpc/{name}/collateral.json"))
    for key in ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"):
        collateral[key] = list(bytes.fromhex(collateral[key]))
    tcb_info = json.loads(read(f"near-mpc/{name}/tcb_info.json"))
    return {"Dstack": {"quote": quote, "collateral": collateral, "tcb_info": tcb_info}}


@pytest.mark.parametrize("depth", range(3))
def test_a_nodes_public_data_is_the_same_evidence(depth: int) -> None:
    name = "2026-03-23_d84519915"
    at = parse_time(NEAR[name])
    assert at is not None
    inner = near_object(name)
    forms = (inner["Dstack"], inner, {"near_p2p_public_key": "", "tee_participant_info": inner})
    raw = json.dumps(forms[depth]).encode()
    question = Question(app_id=None, reference=embedded(), at=at, trusted=False)
    bundle = import_files([("public_data", raw)], collected_at=at)
    report = audit_bundle(bundle, "recorded", question, load_policy("baseline"))
    assert statuses(report, *REPLAYED) == ["pass"] * 5
    assert statuses(report, "application.manifest", "boot.image") == ["pass", "fail"]


@pytest.mark.parametrize(
    ("name", "attesters"), [("gemma-1gpu_2026-03-25", 1), ("glm-4.7-8gpu_2026-03-25", 4)]
)
def test_a_report_is_about_each_attestation_that_it_lists(name: str, attesters: int) -> None:
    bundle = import_files([("report", read(f"gpu/{name}.json"))], collected_at=1)
    assert len(bundle.subjects) == attesters
    for subject in bundle.subjects:
        found = read_subject(bundle, subject)
        assert found.quotes
        assert len(found.infos) == 1
        assert all(source.has_log for source in found.quotes)
