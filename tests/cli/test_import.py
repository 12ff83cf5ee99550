"""`verify import` ends with the exact command that audits what was imported."""

import json
import shlex
from pathlib import Path

from tests.cli.command import Run

APP_ID = "2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b"


def next_command(said: str) -> list[str]:
    """The words of the command on the last line, without `verify`."""
    program, *words = shlex.split(said.splitlines()[-1])
    assert program == "verify"
    return words


def test_recorded_evidence_is_audited_by_the_command_that_is_printed(
    call: Run, evidence_dir: Path
) -> None:
    info = evidence_dir / "info" / "info_dstack-nvidia-0.5.5.json"
    collateral = evidence_dir / "collateral" / "tdx_90C06F000000_2026-08-20_ev20.json"
    imported = call("import", info, collateral, "-o", "it's kept")
    assert "2026-08-20T22:21:30Z to 2026-09-19T21:42:47Z" in imported.err
    words = next_command(imported.err)
    assert words[0] == APP_ID
    report = call(*words)
    assert "Genuine Intel TDX hardware" in report.out
    assert "\nWeakest link  key_management.provider" in report.out


def test_evidence_of_two_guests_is_said_to_be_mixed(call: Run, evidence_dir: Path) -> None:
    """Imported as that of one, it accuses both."""
    infos = evidence_dir / "info"
    first = infos / "info_dstack-nvidia-0.5.5.json"
    mixed = call("import", first, infos / "info_os-da9a3d5c.json", "-o", "mixed")
    assert (mixed.code, "its quotes are of 2 guests" in mixed.err) == (0, True)
    assert next_command(mixed.err)[0] == APP_ID
    alone = call("import", first, "-o", "alone")
    assert (alone.code, "guests" in alone.err) == (0, False)


def test_what_names_no_app_is_audited_as_it_is(call: Run, evidence_dir: Path) -> None:
    imported = call("import", evidence_dir / "dcap-qvl" / "tdx_quote", "-o", "kept")
    assert "it names no app" in imported.err
    assert next_command(imported.err) == ["./kept"]


def test_what_a_page_says_is_enough_to_ask(call: Run, evidence_dir: Path) -> None:
    page = evidence_dir / "8090-page" / "hermes_2026-04-23.html"
    imported = call("import", page, "-o", "kept")
    named = "db82f581256a3c9244c4d7129a67336990d08cdf"
    assert next_command(imported.err) == [named, "--bundle", "kept"]


def test_a_time_is_named_only_where_it_is_needed(call: Run, tmp_path: Path) -> None:
    manifest = {"manifest_version": 2, "name": "x", "docker_compose_file": "services: {}"}
    (tmp_path / "app.json").write_text(json.dumps(manifest))
    imported = call("import", "app.json", "-o", "kept")
    assert imported.code == 0
    assert "--at" not in imported.err


def test_the_report_of_an_inference_service_is_imported_as_it_is_served(
    call: Run, evidence_dir: Path
) -> None:
    report = evidence_dir / "gpu" / "gemma-1gpu_2026-03-25.json"
    collateral = evidence_dir / "collateral" / "tdx_90C06F000000_2026-04-24_ev18.json"
    imported = call("import", report, collateral, "-o", "kept")
    assert "gpu-evidence" in imported.out
    nonce = imported.err.partition("--challenge ")[2][:64]
    assert f"--bind address-nonce=96a98ca1f41a57c1911f08acab8fdce3c26c9e79:{nonce}" in imported.err
    asked = [*next_command(imported.err), "--challenge", nonce]
    assert "  GPUs        1 GH100, driver 570.172.08" in call(*asked).out
    judged = call(*asked, "--format", "json")
    (found,) = (item for item in json.loads(judged.out)["checks"] if item["id"] == "hardware.gpu")
    assert found["status"] == "warn"
    assert found["actual"]["attached"] is True
