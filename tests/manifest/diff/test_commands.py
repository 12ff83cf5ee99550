"""`verify diff` and `verify compose-hash`, as functions of their arguments and files."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.manifest.diff.manifests import COMPOSE, D2, manifest
from verifier.cli.commands.compose_hash import print_compose_hash
from verifier.cli.commands.diff import compare_manifests
from verifier.errors import EvidenceError, UsageError
from verifier.evidence.bundle import BundleBuilder, Kind, save
from verifier.evidence.import_files import import_files

app = typer.Typer()
app.command("diff")(compare_manifests)
app.command("compose-hash")(print_compose_hash)


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def written(tmp_path: Path, filename: str, /, **fields: Any) -> Path:
    path = tmp_path / filename
    path.write_text(json.dumps(manifest(**fields)))
    return path


def test_exit_codes(tmp_path: Path) -> None:
    old = written(tmp_path, "old.json")
    renamed = written(tmp_path, "renamed.json", name="other")
    logs = written(tmp_path, "logs.json", public_logs=True)
    hidden = written(tmp_path, "hidden.json", docker_compose_file="[MASKED]")
    assert run("diff", old, renamed).exit_code == 0
    assert run("diff", old, renamed, "--min-severity", "info").exit_code == 4
    assert run("diff", old, logs).exit_code == 4
    assert run("diff", old, logs, "--min-severity", "high").exit_code == 0
    hidden_too = written(tmp_path, "h2.json", docker_compose_file="[MASKED]", name="other")
    assert run("diff", hidden, hidden_too).exit_code == 3
    assert run("diff", hidden, hidden).exit_code == 3
    assert isinstance(run("diff", old).exception, UsageError)
    broken = tmp_path / "broken.json"
    broken.write_text('{"runner": "docker-compose"')
    assert isinstance(run("diff", old, broken).exception, EvidenceError)
    assert isinstance(run("diff", old, tmp_path / "absent.json").exception, UsageError)


def test_the_platform_is_named(tmp_path: Path) -> None:
    ran = run("diff", written(tmp_path, "a.json"), written(tmp_path, "b.json", name="other"))
    assert "Only platform-injected fields changed" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_several_documents_side_by_side(tmp_path: Path) -> None:
    paths = [written(tmp_path, f"{number}.json", name=f"n{number}") for number in range(9)]
    ran = run("diff", *paths, "--format", "json")
    document = json.loads(ran.stdout)
    assert [item["new"] for item in document["comparisons"]] == list(range(1, 9))
    rows = {row["label"]: row for row in document["table"]}
    assert rows["docker_compose_file"]["equal"]
    assert len(set(rows["compose_hash"]["values"])) == 9
    assert run("diff", *paths).stdout.count("SIDE BY SIDE") == 3
    assert run("diff", *paths, "--format", "markdown").stdout.startswith("# Manifest comparison")


def test_a_bundle_of_two_guests(tmp_path: Path) -> None:
    builder = BundleBuilder()
    for subject, name in (("one", "n1"), ("two", "n2")):
        raw = json.dumps(manifest(name=name)).encode()
        builder.add(Kind.APP_COMPOSE, raw, source="file", subject=subject, collected_at=1)
    save(builder.build(), tmp_path / "bundle")
    document = json.loads(run("diff", tmp_path / "bundle", "--format", "json").stdout)
    assert [item["name"] for item in document["documents"]] == ["bundle: one", "bundle: two"]


def test_the_report_goes_to_a_file(tmp_path: Path) -> None:
    old, new = written(tmp_path, "a.json"), written(tmp_path, "b.json", public_logs=True)
    target = tmp_path / "report.md"
    assert run("diff", old, new, "--format", "markdown", "-o", target).exit_code == 4
    assert "public_logs" in target.read_text()


def test_compose_hash(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    ran = run("compose-hash", path, "--expect", f"sha256:{digest}")
    assert ran.exit_code == 0
    assert f"compose hash         {digest}" in ran.stdout
    assert hashlib.sha256(COMPOSE.encode()).hexdigest() in ran.stdout
    assert "ATTENTION" not in ran.stdout
    wrong = run("compose-hash", path, "--expect", "0x" + "00" * 32)
    assert wrong.exit_code == 4
    assert isinstance(run("compose-hash", path, "--expect", "12").exception, UsageError)


def test_what_altered_the_bytes_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b"\n")
    ran = run("compose-hash", path, "--expect", digest)
    assert ran.exit_code == 4
    assert "ATTENTION: the file ends with a new line" in ran.stdout
    assert "without the new line at its end" in ran.output


@pytest.mark.parametrize(
    "raw", [b"\xef\xbb\xbf{}", b"", b'{"a":1,"a":2}', b"a: [", b"\xff", b"a: 1"]
)
def test_a_hash_of_something_else_is_no_compose_hash(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "compose.yaml"
    path.write_bytes(raw)
    ran = run("compose-hash", path)
    assert isinstance(ran.exception, EvidenceError)
    assert "docker_compose_file" not in ran.stdout


def test_a_compose_file_has_no_compose_hash_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(COMPOSE)
    ran = run("compose-hash", path)
    assert ran.exit_code == 0
    assert "compose hash         not known" in ran.stdout
    assert hashlib.sha256(COMPOSE.encode()).hexdigest() in ran.stdout
    assert "hash not known beforehand" in ran.stdout
    assert "sha256 " not in ran.stdout
    assert "ATTENTION" not in ran.stdout
    assert isinstance(run("compose-hash", path, "--enable", "tee").exception, UsageError)
    named = run("compose-hash", path, "--name", "app", "--enable", "kms")
    assert "kms_enabled: true" in named.stdout
    digest = re.search(r"vmm-cli.py compose and deploy: sha256 ([0-9a-f]{64})", named.stdout)
    assert digest
    assert run("compose-hash", path, "--name", "a", "--expect", digest[1]).exit_code == 4
    assert (
        run(
            "compose-hash", path, "--name", "app", "--enable", "kms", "--expect", digest[1]
        ).exit_code
        == 0
    )


def test_compose_files_alone(tmp_path: Path) -> None:
    old, new, whole = (tmp_path / name for name in ("old.yaml", "new.yaml", "app.json"))
    old.write_text(COMPOSE)
    new.write_text(COMPOSE.replace("services:", "# a comment\nservices:"))
    whole.write_text(json.dumps(manifest()))
    same = run("diff", old, new)
    assert same.exit_code == 0
    assert "only services were compared" in " ".join(same.stdout.split())
    assert "platform-injected" not in same.stdout
    for pair in ((old, whole), (whole, old)):
        document = json.loads(run("diff", *pair, "--format", "json").stdout)
        assert document["comparisons"][0]["compose_only"]
        assert document["comparisons"][0]["changes"] == []
        assert {item["kind"] for item in document["documents"]} == {"compose", "app-compose"}
    new.write_text("services:\n  web:\n    image: nginx:latest\n    privileged: true\n")
    assert run("diff", old, new).exit_code == 4
    assert "DIF-" in run("diff", old, new, "--format", "markdown").stdout


def test_what_deploying_adds(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", allowed_envs=None)
    ran = run("compose-hash", path)
    assert "adds storage_fs: zfs" in ran.stdout
    assert "adds allowed_envs" in ran.stdout
    assert "adds name" not in ran.stdout


def test_digests_are_told_apart(tmp_path: Path) -> None:
    new = COMPOSE.replace("1.0.0@", "1.0.0@").replace(COMPOSE.split("@")[1].split("\n")[0], D2)
    old = written(tmp_path, "a.json")
    ran = run("diff", old, written(tmp_path, "b.json", docker_compose_file=new))
    assert ran.exit_code == 4
    assert "DIF-003" in ran.stdout


def test_recorded_pages_and_answers(evidence_dir: Path) -> None:
    pages = [evidence_dir / "8090-page" / f"hermes_2026-{day}.html" for day in ("03-10", "03-23")]
    ran = run("diff", *pages, "--format", "json", "--at", "2026-04-24")
    assert ran.exit_code == 4
    document = json.loads(ran.stdout)
    stated = [item["facts"]["compose_hash"] for item in document["documents"]]
    assert [item["sha256"] for item in document["documents"]] == [row["value"] for row in stated]
    assert {row["basis"] for row in stated} == {"asserted"}
    answer = evidence_dir / "info" / "info_dstack-nvidia-0.5.5.json"
    assert run("diff", answer, answer, "--at", "2026-04-24").exit_code == 0


def test_facts_of_a_development_image_are_only_said(evidence_dir: Path, tmp_path: Path) -> None:
    recorded = evidence_dir / "near-mpc" / "2026-03-23_d84519915"
    names = ("quote.json", "collateral.json", "tcb_info.json")
    files = [(name, (recorded / name).read_bytes()) for name in names]
    save(import_files(files, collected_at=1), tmp_path / "bundle")
    old = written(tmp_path, "old.json")
    arguments = ("diff", old, tmp_path / "bundle", "--format", "json")
    document = json.loads(run(*arguments, "--at", "2026-03-23T21:17:00Z").stdout)
    facts = document["documents"][1]["facts"]
    # Whoever holds the root shell of a development image writes what its registers say.
    assert facts["compose_hash"] == {
        "value": document["documents"][1]["sha256"],
        "basis": "asserted",
    }
    late = json.loads(run(*arguments, "--at", "2027-03-23").stdout)
    assert late["documents"][1]["facts"]["compose_hash"]["basis"] == "asserted"


def test_a_hash_alone(tmp_path: Path) -> None:
    manifest = written(tmp_path, "a.json")
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert run("compose-hash", "-q", manifest).stdout == f"{digest}\n"
    assert "(as expected)" in run("compose-hash", manifest, "--expect", digest).stdout
    other = tmp_path / "other.json"
    other.write_text('{"a": 1}')
    ran = run("compose-hash", other)
    assert isinstance(ran.exception, EvidenceError)
    assert not ran.stdout


def test_ordinary_changes_are_counted_and_shown_on_demand(tmp_path: Path) -> None:
    old, new = written(tmp_path, "a.json"), written(tmp_path, "b.json", name="other")
    assert "2 changes of severity info: -v shows them" in run("diff", old, new).stdout
    assert "it has no effect" in run("diff", old, new, "-v").stdout
