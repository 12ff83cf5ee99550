"""Deploy paths: what each version of a tool makes of a compose file, to the byte."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]
import pytest
import typer
from typer.testing import CliRunner, Result

from tests.manifest.diff.manifests import document
from verifier.cli.commands.compose_hash import print_compose_hash
from verifier.errors import UsageError
from verifier.evidence.compose.app_compose import parse_app_compose
from verifier.manifest.deployment import Choices, Prediction, made_by, path_label, predict
from verifier.manifest.diff import compare, divergence_table, read_document
from verifier.reference.deploy_profiles import Flag, find_profile, profiles

DEPLOYED: Final = Path(__file__).parents[4] / "shared" / "corpus" / "deployed"
SCHEMA: Final = json.loads(
    (Path(__file__).parents[3] / "docs" / "schema" / "compose-hash-v1.schema.json").read_text()
)
COMPOSE: Final = "services:\n  web:\n    image: nginx@sha256:" + "ab" * 32 + "\n"
SCRIPT: Final = "#!/bin/bash\necho ✓\n"
APP: Final = typer.Typer()
APP.command()(print_compose_hash)

CLI: Final = predict(
    find_profile("phala-cli@1.1.14"),
    COMPOSE,
    Choices(allowed=("DSTACK_AUTHORIZED_KEYS",), script=SCRIPT),
)
API: Final = predict(
    find_profile("phala-api@1"), COMPOSE, Choices(name="shared-key-demo-2", script=SCRIPT)
)
SELF_HOSTED: Final = predict(
    find_profile("vmm@0.5.7"),
    COMPOSE,
    Choices(name="", flags=dict.fromkeys(("kms", "public-logs", "public-sysinfo"), True)),
)
TABLE: Final[dict[str, tuple[Any, Any, Any]]] = {
    "allowed_envs": (["DSTACK_AUTHORIZED_KEYS"], [], []),
    "features": (["kms", "tproxy-net"], ["kms"], None),
    "gateway_enabled": (True, True, False),
    "kms_enabled": (True, True, True),
    "local_key_provider_enabled": (False, False, False),
    "manifest_version": (2, 2, 2),
    "name": ("", "shared-key-demo-2", ""),
    "no_instance_id": (False, False, False),
    "public_logs": (True, True, True),
    "public_sysinfo": (True, True, True),
    "public_tcbinfo": (True, True, None),
    "runner": ("docker-compose",) * 3,
    "secure_time": (False, False, False),
    "storage_fs": ("zfs", "zfs", None),
    "tproxy_enabled": (True, False, None),
    "key_provider_id": (None, None, ""),
    "pre_launch_script": (SCRIPT, SCRIPT, None),
}
"""Three deployments of one app, field by field, as they were published."""


def bytes_of(prediction: Prediction) -> bytes:
    assert prediction.raw is not None
    return prediction.raw


def test_one_compose_file_has_three_manifests_with_the_fields_of_the_table() -> None:
    for place, prediction in enumerate((CLI, API, SELF_HOSTED)):
        made = json.loads(bytes_of(prediction))
        assert made.pop("docker_compose_file") == COMPOSE
        assert made == {
            name: values[place] for name, values in TABLE.items() if values[place] is not None
        }
    assert len({item.compose_hash for item in (CLI, API, SELF_HOSTED)}) == 3


def test_diff_names_exactly_the_rows_of_the_table() -> None:
    made = [read_document("x", bytes_of(item)) for item in (CLI, API, SELF_HOSTED)]
    differing = {name for name, values in TABLE.items() if len(set(map(repr, values))) > 1}
    table = {row.label: row for row in divergence_table(made)}
    rows = {label for label, row in table.items() if not row.equal} - {"compose_hash"}
    # Two rows say the same field in another way.
    assert rows - {"allowed_envs, sorted", "what the script is"} == differing
    assert table["docker_compose_file"].equal
    changes = compare(made[0], made[1]).changes
    pointers = {change.pointer.split("/")[1] for change in changes}
    assert pointers == {"allowed_envs", "features", "name", "tproxy_enabled"}


def test_labels_of_the_three() -> None:
    labels = [path_label(parse_app_compose(bytes_of(item))) for item in (CLI, API, SELF_HOSTED)]
    assert "phala deploy" in labels[0]
    assert "POST /cvms/provision" in labels[1]
    assert "vmm-cli.py" in labels[2]
    # A manifest that somebody edited, or that no known tool writes, has none.
    for raw in (bytes_of(CLI) + b"\n", bytes_of(CLI).replace(b'"storage_fs":"zfs",', b"")):
        assert path_label(parse_app_compose(raw)) == ""
    assert path_label(parse_app_compose(document({}).raw)) == ""


@pytest.mark.parametrize("profile", profiles(), ids=lambda item: f"{item.tool}@{item.since}")
def test_every_profile_predicts_or_names_what_is_not_known(profile: Any) -> None:
    bare = predict(profile, COMPOSE, Choices())
    assert bare.compose_hash is None
    assert all(bare.missing.values())
    script = SCRIPT if "pre_launch_script" in {*profile.fields, *profile.optional} else None
    full = predict(profile, COMPOSE, Choices(name="app-é", script=script))
    if profile.unknown.keys() - profile.fields.keys():
        assert (full.raw, full.missing) == (None, profile.unknown)
        return
    assert not full.missing
    raw = bytes_of(full)
    assert full.compose_hash == hashlib.sha256(raw).hexdigest()
    assert profile in made_by(parse_app_compose(raw))


def test_versions_differ_where_the_tools_do() -> None:
    def made(version: str) -> bytes:
        flags = {} if version < "0.5.4" else {"secure-time": True}
        choices = Choices(name="é", flags=flags)
        return bytes_of(predict(find_profile(f"vmm@{version}"), COMPOSE, choices))

    assert b"\\u00e9" in made("0.5.1")
    assert made("0.5.2") == made("0.5.3") == made("0.5.4") == made("v0.5.11")
    assert b"key_provider_id" not in made("0.5.0")


@pytest.mark.parametrize(
    "text", ["", "x", "vmm@", "vmm@9", "vmm@0.4.2", "phala-cli@2", "vmm@0.5.x", "vmm@0.5.7.1", "@1"]
)
def test_unknown_paths_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_profile(text)
    assert caught.value.hint


def test_choices_that_a_tool_does_not_have_are_usage_errors() -> None:
    for name, choices in (
        ("vmm@0.5.7", Choices(flags={"public-tcbinfo": True})),
        ("vmm@0.5.3", Choices(flags={"secure-time": True})),
        ("vmm@0.5.0", Choices(script="x")),
        ("vmm@0.5.4", Choices(others={"key_provider": "tpm"})),
        ("phala-api", Choices(others={"frobnicate": 1})),
    ):
        with pytest.raises(UsageError):
            predict(find_profile(name), COMPOSE, choices)


@pytest.mark.skipif(not DEPLOYED.is_dir(), reason="the corpus is not beside the checkout")
@pytest.mark.parametrize(
    ("start", "deploy"),
    [
        ("cd5af141", "phala-cli@1.1.0"),
        ("e7f7f14e", "phala-cli@1.1.19"),
        ("ca21eb9c", "phala-cli"),
        ("52a82a58", "vmm@0.5.4"),
        ("4676ec04", "vmm@0.5.5"),
        ("198a7e5c", "vmm@0.5.7"),
        ("65b0da4c", "vmm@0.5.2"),
    ],
)
def test_manifests_that_were_measured_are_predicted_to_the_byte(start: str, deploy: str) -> None:
    (path,) = DEPLOYED.glob(f"*{start}.json")
    raw = path.read_bytes()
    deployed = json.loads(raw)
    profile = find_profile(deploy)
    flags = {
        value.name: deployed[name]
        for name, value in profile.fields.items()
        if isinstance(value, Flag)
    }
    choices = Choices(
        name=deployed["name"],
        allowed=tuple(deployed["allowed_envs"]),
        script=deployed.get("pre_launch_script"),
        flags=flags,
    )
    found = predict(profile, deployed["docker_compose_file"], choices)
    assert found.compose_hash == hashlib.sha256(raw).hexdigest()
    assert found.compose_hash.startswith(start)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "script.sh").write_text(SCRIPT)
    (tmp_path / "cli.json").write_bytes(bytes_of(CLI))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments))


def document_of(*arguments: str) -> Any:
    found = json.loads(run(*arguments, "--format", "json").stdout)
    jsonschema.validate(found, SCHEMA)
    return found


@pytest.mark.usefixtures("folder")
def test_json_has_its_schema() -> None:
    for arguments in (
        ("cli.json",),
        ("compose.yaml",),
        ("compose.yaml", "--name", "app", "--expect", "0" * 64),
        ("compose.yaml", "--deploy", "vmm", "--name", "app"),
        ("compose.yaml", "--deploy", "phala-cli@1.0.2", "--name", "app"),
        (*PHALA, "--expect", f"sha256:{CLI.compose_hash}"),
    ):
        assert document_of(*arguments)["kind"] in {"app-compose", "compose"}


PHALA: Final = (
    *("compose.yaml", "--deploy", "phala-cli@1.1.14", "--allow", "DSTACK_AUTHORIZED_KEYS"),
    *("--pre-launch-script", "script.sh"),
)


def test_the_command_predicts(folder: Path) -> None:
    assert run(*PHALA, "-q").stdout == f"{CLI.compose_hash}\n"
    assert run("cli.json", "-q").stdout == f"{CLI.compose_hash}\n"
    expected = ("--expect", f"sha256:{CLI.compose_hash}")
    for arguments in (PHALA, ("cli.json",)):
        done = run(*arguments, *expected)
        assert (done.exit_code, "as expected" in done.stdout) == (0, True)
        found = json.loads(run(*arguments, *expected, "--format", "json").stdout)
        assert (found["compose_hash"], found["as_expected"]) == (CLI.compose_hash, True)
        assert "phala deploy" in found["made_by"]
        other = run(*arguments, "--expect", "0" * 64, "--format", "json")
        assert (other.exit_code, json.loads(other.stdout)["as_expected"]) == (4, False)
    assert run(*PHALA, "--write-manifest", "made.json").exit_code == 0
    assert (folder / "made.json").read_bytes() == CLI.raw


@pytest.mark.usefixtures("folder")
def test_the_command_names_the_one_field_that_nobody_can_know() -> None:
    done = run("compose.yaml", "--deploy", "phala-cli@1.1.14")
    assert done.exit_code == 3
    assert "not known: pre_launch_script" in done.stdout
    assert "script of the day" in " ".join(done.stdout.split())
    found = json.loads(
        run("compose.yaml", "--deploy", "phala-cli@1.1.14", "--format", "json").stdout
    )
    assert (found["compose_hash"], list(found["missing"])) == (None, ["pre_launch_script"])
    assert "SSH key" in found["notes"][0]
    old = run("compose.yaml", "--deploy", "phala-cli@1.0.35", "--name", "app")
    assert (old.exit_code, "not known: salt" in old.stdout) == (3, True)
    quiet = run("compose.yaml", "--deploy", "phala-cli@1.1.14", "-q")
    assert (quiet.exit_code, quiet.stdout) == (3, "")
    assert isinstance(run("compose.yaml", "-q").exception, UsageError)
    named = run("compose.yaml", "--deploy", "vmm@0.5.7", "--name", "", "-q")
    assert (named.exit_code, len(named.stdout)) == (0, 65)


@pytest.mark.usefixtures("folder")
def test_misuse_of_the_command_is_said() -> None:
    for arguments in (
        ("compose.yaml", "--deploy", "vmm@77"),
        ("compose.yaml", "--deploy", "vmm", "--set", "x"),
        ("compose.yaml", "--disable", "kms"),
        ("compose.yaml", "--set", "storage_fs=ext4"),
        ("cli.json", "--deploy", "vmm"),
        ("compose.yaml", "--deploy", "phala-cli", "--write-manifest", "m.json"),
    ):
        assert isinstance(run(*arguments).exception, UsageError), arguments
    done = run(*PHALA, "--set", "storage_fs=ext4", "--disable", "public-logs", "--format", "json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["compose_hash"] != CLI.compose_hash
