"""Mistakes of the user and of files: one clear line, the right exit code, no traceback."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.command import Run

APP_ID = "2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b"


def empty_bundle(path: Path) -> Path:
    path.mkdir()
    manifest = {"artifacts": [], "schema": "dstack-audit/bundle/v1"}
    (path / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")))
    (path / "blobs").mkdir()
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["demoo"], 2, "did you mean `verify demo`?"),
        (["nonsense"], 2, "no app id"),
        (["2c0a0c96"], 2, "no app id"),
        ([APP_ID, "--policy", "none.toml"], 2, "none.toml"),
        ([APP_ID, "--at", "yesterday", "--bundle", "empty"], 2, "--at"),
        ([APP_ID, "--offline"], 2, "--offline needs a bundle"),
        ([APP_ID, "--trust-bundle", "00"], 2, "--trust-bundle needs a bundle"),
        ([APP_ID, "--bundle", "empty", "--trust-bundle", "00"], 2, "is not a digest"),
        ([APP_ID, "--bundle", "empty", "--trust-bundle", "00" * 32], 2, "names another bundle"),
        ([APP_ID, "--kms", "8453"], 2, "CHAIN:ADDRESS"),
        ([APP_ID, "--kms", f"0:0x{APP_ID}"], 2, "--kms '0:0x2c0a"),
        ([APP_ID, "--kms", f"08453:0x{APP_ID}"], 2, "--kms '08453:0x2c0a"),
        ([APP_ID, "--kms", f"1:0x{APP_ID[:-1]}B"], 2, "something is mistyped"),
        ([APP_ID, "--kms", f"0x{APP_ID[:-1]}B"], 2, "something is mistyped"),
        ([APP_ID, "--kms", "3059301306" + "00" * 40], 2, "no CA key of 45 bytes"),
        ([APP_ID, "--expect-kms", f"1:0x{APP_ID[:-1]}B"], 2, "--expect-kms"),
        ([APP_ID, "--expect-kms", "3059301306" + "00" * 40], 2, "--expect-kms"),
        ([APP_ID, "--expect-app-id", "12"], 2, "--expect-app-id '12'"),
        ([APP_ID, "--challenge", "xyz"], 2, "--challenge"),
        ([APP_ID, "--bind", "challenge-leaf=12"], 2, "COMPOSE_HASH"),
        ([APP_ID, "--bind", "near-mpc=12:34"], 2, "TLS_KEY is not 32 bytes"),
        ([APP_ID, "--bind", f"near-mpc={'12' * 32}"], 2, "has 1 values, not 2"),
        ([APP_ID, "--bind", f"nearmpc={'12' * 32}"], 2, "near-mpc=TLS_KEY:ACCOUNT_KEY"),
        ([APP_ID, "--bind", "other=" + "00" * 32], 2, "COMPOSE_HASH"),
        ([APP_ID, "--instance", "1"], 2, "--instance"),
        ([APP_ID, "--unsafe-root", "missing.pem"], 2, "missing.pem"),
        ([APP_ID, "--unsafe-root", "text.txt"], 2, "not a certificate"),
        ([APP_ID, "--expect-compose-hash", "12"], 2, "32 bytes"),
        (["https://example.com.:443/x"], 2, "metadata page"),
        (["./missing"], 2, "no such bundle"),
        (["text.txt"], 3, "not a bundle"),
        (["import", "missing.bin", "-o", "out"], 2, "no such file"),
        (["import", "text.txt", "-o", "out"], 3, "text.txt"),
        (["checks", "nothing.at.all"], 2, "no check is named"),
    ],
)
def test_mistakes(run: Run, tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    empty_bundle(tmp_path / "empty")
    (tmp_path / "text.txt").write_text("just some text\n")
    ran = run(*arguments)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""
    assert len(ran.err.splitlines()) <= 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--bundle", "empty", "--bundle", "other"], "--bundle is given twice"),
        (["--bundle", "empty", "--at", "2026-03-01", "--at=2026-04-01"], "--at is given twice"),
        (["--kms", f"1:0x{APP_ID}", "--kms", f"8453:0x{APP_ID}"], "--kms is given twice"),
        (["--policy", "strict", "--policy", "genuine"], "--policy is given twice"),
        (["--timeout", "9", "--timeout=8"], "--timeout is given twice"),
        (["--challenge", ""], "--challenge is empty"),
        (["--challenge="], "--challenge is empty"),
        (["--endpoint", ""], "--endpoint is empty"),
        (["--trust-bundle", ""], "--trust-bundle is empty"),
        (["--kms", ""], "--kms is empty"),
        (["--rpc-url", "https://rpc.example", "--rpc-url", ""], "--rpc-url is empty"),
        (["--policy", ""], "--policy is empty"),
    ],
)
def test_no_option_is_lost(run: Run, tmp_path: Path, arguments: list[str], says: str) -> None:
    empty_bundle(tmp_path / "empty")
    ran = run(APP_ID, *arguments)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert ran.err.startswith(f"verify: {says}")


def test_several_values_and_a_flag_said_twice_are_no_mistake(run: Run, tmp_path: Path) -> None:
    bundle = empty_bundle(tmp_path / "empty")
    urls = [item for name in "ab" for item in ("--gateway", f"{name}.example")]
    again = ("--at", "2026-03-01", "--at=2026-03-01", "-o", "one", "-otwo", "--output", "three")
    ran = run(APP_ID, "--bundle", bundle, *urls, "-q", "-q", *again)
    assert ran.code == 3
    assert ran.err.endswith("the report is in three\n")


def test_an_empty_bundle_gives_a_report_and_no_verdict(run: Run, tmp_path: Path) -> None:
    empty_bundle(tmp_path / "empty")
    ran = run(APP_ID, "--bundle", "empty", "--format", "json")
    assert ran.code == 3
    assert json.loads(ran.out)["verdict"] == "none"


def test_options_may_stand_before_the_target(run: Run, tmp_path: Path) -> None:
    empty_bundle(tmp_path / "empty")
    before = run("--format", "json", "--bundle", "empty", "--at", "2026-01-01", APP_ID)
    after = run(APP_ID, "--at", "2026-01-01", "--bundle", "empty", "--format", "json")
    named = run("app", APP_ID, "--at", "2026-01-01", "--bundle", "empty", "--format", "json")
    assert before.out == after.out == named.out
    assert before.code == 3


@pytest.mark.parametrize("command", ["lint", "compose-hash", "report", "signer", "checklist"])
def test_what_cannot_be_read_is_said_of_its_file(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "some.bin").write_bytes(b"\xff" * 40)
    ran = run(command, "some.bin")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("verify: some.bin: ")
    assert len(ran.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("command", "file", "code"),
    [
        ("lint", "some.json", 2),
        ("compose-hash", "some.json", 2),
        ("report", "some.json", 2),
        ("signer", "some.json", 2),
        ("oci", "some.tar", 3),
        ("image", "some.tar", 3),
    ],
)
def test_a_file_that_is_not_there_is_said_so(run: Run, command: str, file: str, code: int) -> None:
    ran = run(command, file)
    assert (ran.code, ran.out) == (code, "")
    assert "there is no such file" in ran.err
    assert "Errno" not in ran.err


def test_a_broken_bundle_says_what_to_do(run: Run, tmp_path: Path) -> None:
    cut = empty_bundle(tmp_path / "cut")
    (cut / "manifest.json").write_text("{")
    more = empty_bundle(tmp_path / "more")
    (more / "blobs" / "another").touch()
    for broken in (cut, more):
        ran = run(f"./{broken.name}")
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.startswith(f"verify: {broken.name}")
        assert "collect it again" in ran.err


def test_what_is_no_bundle_is_told_what_it_is(run: Run, tmp_path: Path) -> None:
    empty_bundle(tmp_path / "bundle")
    (tmp_path / "link").symlink_to("bundle")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder" / "below").mkdir(parents=True)
    for name, code, says in (
        ("./link", 3, "link: a link to a folder"),
        ("./dangling", 2, "it is a link that leads nowhere"),
        ("./folder", 3, "this is not a bundle"),
    ):
        ran = run(name)
        assert (ran.code, ran.out) == (code, "")
        assert says in ran.err
    ran = run("fleet", "folder")
    assert (ran.code, "did you mean" in ran.err) == (2, False)


def test_a_bundle_named_like_a_command(run: Run, tmp_path: Path) -> None:
    empty_bundle(tmp_path / "demo")
    assert '"target":"./demo"' in run("./demo", "--format", "json").out


def test_help_names_examples_and_exit_codes(run: Run) -> None:
    for arguments in (["--help"], [], ["app", "--help"], ["import", "-h"]):
        ran = run(*arguments)
        assert "verify " in ran.out + ran.err
        assert "\x1b" not in ran.out
    assert "4 contraindicated" in run("--help").out


def test_a_report_can_be_written_to_a_file(run: Run, tmp_path: Path) -> None:
    ran = run("demo", "--format", "json", "-o", "report.json")
    assert (ran.code, ran.out) == (0, "")
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "affirming"
    assert run("demo", "-o", "missing/report.json").code == 2


def test_help_loads_nothing_heavy(run: Run) -> None:
    ran = run("--help", PYTHONPROFILEIMPORTTIME="1")
    for module in ("web3", "httpx", "bs4", "eth_abi", "cryptography", "dcap_qvl", "rich"):
        assert f" {module}\n" not in ran.err


def test_an_offline_audit_loads_no_network(run: Run) -> None:
    run("demo", "--save", "kept", "-q")
    report = json.loads(run("demo", "--format", "json").out)
    ran = run(
        *(report["requested_app_id"], "--bundle", "kept/bundle", "--format", "json"),
        PYTHONPROFILEIMPORTTIME="1",
    )
    for module in ("web3", "httpx", "httpcore"):
        assert f" {module}\n" not in ran.err


def test_a_bundle_may_be_a_tar(run: Run) -> None:
    run("demo", "--save", "kept", "-q")
    report = json.loads(run("demo", "--format", "json").out)
    question = (report["requested_app_id"], "--at", report["evaluated_at"], "--format", "json")
    listed = run(*question, "--bundle", "kept/bundle")
    assert run("import", "kept/reference.json", "-o", "x.tar").code == 3
    again = run(*question, "--bundle", "kept/bundle", "--save", "again.tar")
    assert again.out == listed.out == run(*question, "--bundle", "again.tar").out


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    ran = run(APP_ID, "--save", "kept")
    assert (ran.code, ran.out) == (2, "")
    assert "exists already" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["http://[::1"],
        ["a" * 300],
        [APP_ID, "--gateway", "https://[x"],
        [APP_ID, "--gateway", "https://u:SECRET@gw.example"],
        [APP_ID, "--pccs-url", "https://pccs.example/?key=SECRET"],
        [APP_ID, "--rpc-url", "not a url"],
        [APP_ID, "--at", "9999-12-31T23:59:59-23:59", "--bundle", "x"],
    ],
)
def test_odd_addresses_and_times_are_usage_errors(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


def test_a_file_name_that_is_not_utf8(run: Run, tmp_path: Path) -> None:
    name = os.fsdecode(b"log\xff.json")
    (tmp_path / name).write_text("[]")
    ran = run("import", name, "-o", "out")
    assert "Traceback" not in ran.err


def test_a_demo_does_not_overwrite(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    ran = run("demo", "--save", "kept")
    assert (ran.code, ran.out) == (2, "")
