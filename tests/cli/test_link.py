"""One link of the chain alone."""

import json
from pathlib import Path

import pytest

from tests.cli.command import Run

MPC = "near-mpc/2026-03-23_d84519915"
AT = ("--at", "2026-03-23T21:17:00Z")


def test_a_recorded_quote(run: Run, evidence_dir: Path) -> None:
    files = [evidence_dir / MPC / name for name in ("quote.json", "collateral.json")]
    ran = run("quote", *files, *AT)
    assert (ran.code, ran.out.count("pass "), ran.err) == (0, 3, "")
    later = run("quote", *files, "--at", "2026-06-01")
    assert later.code == 3
    assert "not at 2026-06-01T00:00:00Z" in later.out
    assert "--at 2026-04-22T" in later.out


def test_a_recorded_quote_has_a_second_opinion(
    run: Run, evidence_dir: Path, tmp_path: Path
) -> None:
    files = [evidence_dir / MPC / name for name in ("quote.json", "collateral.json")]
    ran = run("quote", *files, *AT, "--second-opinion")
    assert (ran.code, ran.out.count("pass "), ran.out.count("says the same")) == (0, 3, 1)
    raw = bytearray(json.loads(files[0].read_text()))
    raw[632 + 4 + 128] ^= 1
    relabelled = tmp_path / "quote.bin"
    relabelled.write_bytes(raw)
    assert run("quote", relabelled, files[1], *AT).code == 0
    ran = run("quote", relabelled, files[1], *AT, "--second-opinion")
    assert ran.code == 3
    assert "two verifiers disagree about the quote" in ran.out


def test_a_recorded_event_log(run: Run, evidence_dir: Path, tmp_path: Path) -> None:
    names = ("quote.json", "collateral.json", "tcb_info.json")
    files = [evidence_dir / MPC / name for name in names]
    assert run("events", *files, *AT).code == 0
    tcb_info = json.loads(files[2].read_text())
    tcb_info["event_log"][-1]["event_payload"] = "00"
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(tcb_info))
    ran = run("events", *files[:2], forged, *AT)
    assert ran.code == 4
    assert "FAIL    runtime.replay" in ran.out


@pytest.mark.parametrize("forged", [0, 1])
def test_of_several_attesters_the_worst_is_shown(
    run: Run, evidence_dir: Path, tmp_path: Path, forged: int
) -> None:
    quote = bytes(json.loads((evidence_dir / MPC / "quote.json").read_text()))
    quotes = [quote, quote]
    quotes[forged] = quote[:600] + bytes([quote[600] ^ 1]) + quote[601:]
    listed = [{"instance_id": f"{n}0" * 20, "quote": item.hex()} for n, item in enumerate(quotes)]
    account = tmp_path / "attestations.json"
    account.write_text(json.dumps({"app_id": "aa" * 20, "instances": listed}))
    ran = run("quote", account, evidence_dir / MPC / "collateral.json", *AT)
    assert ran.code == 4
    assert "FAIL    hardware.quote" in ran.out


def test_a_log_without_a_quote_proves_nothing(run: Run, evidence_dir: Path) -> None:
    assert run("events", evidence_dir / MPC / "tcb_info.json", *AT).code == 3


def test_the_production_chain(run: Run, evidence_dir: Path) -> None:
    ran = run("signer", evidence_dir / "kms" / "signature_chain.json")
    assert ran.code == 0
    assert "0x52d3CF51c8A37A2CCfC79bBb98c7810d7Dd4CE51" in ran.out


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"purpose": "testnet"}, 4),
        ({"app_id": "00" * 20}, 4),
        ({"kms_root_address": "0x" + "00" * 20}, 4),
        ({"kms_signature": "00" * 65}, 3),
        ({"app_signature": "12"}, 3),
    ],
)
def test_a_changed_chain(
    run: Run, evidence_dir: Path, tmp_path: Path, change: dict[str, str], code: int
) -> None:
    chain = json.loads((evidence_dir / "kms" / "signature_chain.json").read_text())
    changed = tmp_path / "chain.json"
    changed.write_text(json.dumps(chain | change))
    ran = run("signer", changed)
    assert ran.code == code
    assert "Traceback" not in ran.err
