"""A dashboard's statements beside the report: theirs decide nothing, and none is taken for ours."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.gates.test_action import APP_ID
from tests.report.test_render_json import SCHEMA
from verifier.errors import EvidenceError
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.import_files import import_files
from verifier.lab.dashboard import dashboard_report
from verifier.model.identifiers import parse_time
from verifier.model.report import Beside, Comparison, Report
from verifier.report.audit.beside import (
    compare_with_dashboard,
    sentence,
    tally,
    unreadable,
)
from verifier.report.audit.earlier import read_report
from verifier.report.audit.html import render_html
from verifier.report.audit.json import render_json
from verifier.report.audit.markdown import render_markdown
from verifier.report.audit.terminal import render_terminal

ROOT: Final = Path(__file__).parents[2]
OTHER: Final = "11" * 20
NOW: Final = parse_time("2026-06-15T12:00:00Z") or 0


@pytest.fixture(scope="module")
def demo() -> Report:
    return read_report((ROOT / "reports" / "demo.json").read_bytes())


@pytest.fixture(scope="module")
def dashboard(demo: Report) -> Callable[..., bytes]:
    claims = {item.name: item.value for item in demo.subjects[0].claims}

    def make(at: int = NOW, app_id: str = APP_ID, **edit: str) -> bytes:
        named = {name.replace("__", ".").replace("_main", "-main"): edit[name] for name in edit}
        return dashboard_report(claims, at, app_id=app_id, edit=named)

    return make


def beside(comparison: Comparison) -> dict[str, Beside]:
    return {row.topic: row.beside for row in comparison.rows}


def test_one_that_is_right_is_proven_here_too(
    demo: Report, dashboard: Callable[..., bytes]
) -> None:
    found = compare_with_dashboard(demo, dashboard(), "report.json")
    assert (found.note, found.shows) == ("", "verified")
    standings = beside(found)
    proven = {name for name, item in standings.items() if item is Beside.PROVEN}
    assert proven >= {"App id", "Instance", "Hardware", "Manifest", "MRTD", "RTMR3", "Machine"}
    assert proven >= {"App contract", "Manifest is allowed on chain", "Source code"}
    assert standings["OS image"] is Beside.RECOGNISED
    assert standings["Gateway"] is standings["Domain"] is Beside.SAID
    assert len(found.unseen) == 7
    assert "[unsafe root]" in found.rows[0].ours  # proven under that root, and not otherwise


def test_a_forged_manifest_that_is_shown_as_verified_is_contradicted(
    demo: Report, dashboard: Callable[..., bytes]
) -> None:
    found = compare_with_dashboard(demo, dashboard(app_main__compose_hash="ee" * 32), "r")
    assert beside(found)["Manifest"] is Beside.CONTRADICTED
    assert found.note == "it shows as verified what this audit contradicts: Manifest"
    assert tally(found).startswith("1 contradicted")


def test_one_about_another_app_is_not_compared(
    demo: Report, dashboard: Callable[..., bytes]
) -> None:
    found = compare_with_dashboard(demo, dashboard(app_id=OTHER), "r")
    assert (found.rows, found.unseen) == ((), ())
    assert found.note == f"it is about the app {OTHER}, and not about {APP_ID}"


def test_one_of_another_day_differs_and_does_not_contradict(
    demo: Report, dashboard: Callable[..., bytes]
) -> None:
    raw = dashboard(at=NOW - 9 * 86_400, app_main__compose_hash="ee" * 32)
    found = compare_with_dashboard(demo, raw, "r")
    assert beside(found)["Manifest"] is Beside.DIFFERS
    assert found.note == "it is of 2026-06-06T12:00:00Z, 9 days from this evidence"
    undated = json.loads(raw)
    del undated["completedAt"]
    again = compare_with_dashboard(demo, json.dumps(undated).encode(), "r")
    assert (again.made_at, again.note) == (None, "it does not say of when it is")


def test_another_instance_has_its_own_registers(
    demo: Report, dashboard: Callable[..., bytes]
) -> None:
    raw = dashboard(app_main__instance_id="22" * 20, app_main__device_id="33" * 32)
    standings = beside(compare_with_dashboard(demo, raw, "r"))
    assert standings["Instance"] is standings["Machine"] is Beside.DIFFERS
    raw = dashboard(app_main__instance_id="22" * 20, app_main__compose_hash="33" * 32)
    assert beside(compare_with_dashboard(demo, raw, "r"))["Manifest"] is Beside.CONTRADICTED


def test_what_this_audit_does_not_prove_is_only_said(
    demo: Report, dashboard: Callable[..., bytes]
) -> None:
    unproven = replace(
        demo, subjects=(replace(demo.subjects[0], checks=(), claims=demo.subjects[0].claims),)
    )
    found = compare_with_dashboard(unproven, dashboard(), "r")
    assert {*beside(found).values()} == {Beside.SAID}
    nothing = replace(demo, requested_app_id=None, subjects=())
    assert "knows no app" in compare_with_dashboard(nothing, dashboard(), "r").note


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{}", b"[]", b'{"dataObjects": [], "success": true}'),
        b'{"dataObjects":1,"success":1}',
        b'{"dataObjects":[{"id":"a","fields":{}},{"id":"a","fields":{}}],"success":true}',
    ],
)
def test_what_is_no_such_report_is_said(demo: Report, raw: bytes) -> None:
    with pytest.raises(EvidenceError) as refused:
        compare_with_dashboard(demo, raw, "r")
    found = unreadable(raw, "r", refused.value)
    assert found.note
    assert not found.rows


def test_every_form_has_it_and_reads_it_back(demo: Report, dashboard: Callable[..., bytes]) -> None:
    raw = dashboard(app_main__compose_hash="ee" * 32, app_cpu__verification_status="x")
    hostile = dashboard(app_main__registry_smart_contract="<script>|`\u202e", app_id=APP_ID)
    compared = tuple(compare_with_dashboard(demo, item, "a.json") for item in (raw, hostile))
    report = replace(demo, comparisons=compared)
    document = render_json(report)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(document))
    assert read_report(document).comparisons == compared
    for text in (render_markdown(report), render_html(report)):
        assert "contradicted" in text
        assert sentence(compared[0]).split(":")[0] in text
    assert "<script>" not in render_html(report)
    screen = render_terminal(report, color=False, width=100)
    assert "Beside" in screen
    assert "1 contradicted" in screen.replace("\n", " ")
    assert sentence(compared[0])[:40] in render_terminal(report, color=False, width=200, verbose=1)


def test_a_verifier_s_answer_is_compared_too(demo: Report) -> None:
    claims = {item.name: item.value for item in demo.subjects[0].claims}
    named = ("app_id", "instance_id", "device_id", "compose_hash", "os_image_hash")
    info = {name: claims[name] for name in named}
    details = {"app_info": info, "tcb_status": "UpToDate", "os_image_is_dev": None}
    answer = {"is_valid": True, "details": details, "reason": None}
    found = compare_with_dashboard(demo, json.dumps(answer).encode(), "answer.json")
    assert (found.name, found.shows) == ("dstack-verifier", "verified")
    standings = beside(found)
    assert {standings[name] for name in ("App id", "Instance", "Hardware", "Manifest")} == {
        Beside.PROVEN
    }
    assert all("recomputed" not in question for question, _ in found.unseen)
    info["compose_hash"] = "ee" * 32
    found = compare_with_dashboard(demo, json.dumps(answer).encode(), "answer.json")
    assert beside(found)["Manifest"] is Beside.DIFFERS  # it does not say of when it is
    refused = answer | {"is_valid": False, "reason": "quote verification failed"}
    found = compare_with_dashboard(demo, json.dumps(refused).encode(), "answer.json")
    assert found.shows == "not verified: quote verification failed"


def test_the_cloud_s_account_comes_to_no_verdict(demo: Report) -> None:
    claims = {item.name: item.value for item in demo.subjects[0].claims}
    account = {
        "app_id": APP_ID,
        "contract_address": claims["app_contract"],
        "kms_info": {"contract_address": "0x" + "11" * 20, "gateway_app_id": "ab" * 20},
        "instances": [{"instance_id": claims["instance_id"], "image_version": "dstack-0.5.3"}],
    }
    found = compare_with_dashboard(demo, json.dumps(account).encode(), "account.json")
    assert (found.name, found.shows) == ("phala-cloud", "no verdict")
    standings = beside(found)
    assert standings["App contract"] is standings["Instance"] is Beside.PROVEN
    assert standings["KMS contract"] is Beside.DIFFERS
    assert standings["Gateway"] is Beside.SAID
    report = replace(demo, comparisons=(found,))
    document = json.loads(render_json(report))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert "comes to no verdict" in render_markdown(report)


def test_secrets_in_theirs_are_masked(demo: Report, dashboard: Callable[..., bytes]) -> None:
    token = "ghp_" + "a1B2" * 9
    raw = dashboard(
        app_main__registry_smart_contract=f"https://user:{token}@rpc.example/",
        gateway_main__guarded_domain=token,
        app_os__os=f"token={token}",
    )
    raw = raw.replace(b'"gateway_main"', b'"gateway-main"').replace(b'"app_os"', b'"app-os"')
    found = compare_with_dashboard(demo, raw, f"https://{token}@host.example/report.json")
    report = replace(demo, comparisons=(found,))
    for text in (
        render_json(report).decode(),
        render_markdown(report),
        render_html(report),
        render_terminal(report, color=False, width=200, verbose=1),
    ):
        assert token not in text


def test_an_imported_one_is_kept_apart(dashboard: Callable[..., bytes]) -> None:
    bundle = import_files([("tc.json", dashboard())], collected_at=NOW)
    assert [item.kind for item in bundle.artifacts] == [Kind.DASHBOARD]
    assert BundleBuilder(bundle).build().subjects == bundle.subjects


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_damage_to_theirs_is_more_than_theirs(data: st.DataObject) -> None:
    demo = read_report((ROOT / "reports" / "demo.json").read_bytes())
    claims = {item.name: item.value for item in demo.subjects[0].claims}
    document = json.loads(dashboard_report(claims, NOW, app_id=APP_ID))
    entry = data.draw(st.sampled_from(document["dataObjects"]))
    key = data.draw(st.sampled_from(sorted(entry["fields"])))
    entry["fields"][key] = data.draw(st.sampled_from(["", "x", "00" * 32, None, [], {}, 7, True]))
    try:
        found = compare_with_dashboard(demo, json.dumps(document).encode(), "r")
    except EvidenceError:
        return
    ours = {row.topic: row.ours for row in found.rows if row.beside is Beside.PROVEN}
    assert all(ours.values())
