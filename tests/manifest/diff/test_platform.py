"""The deploy paths of one app: what platforms add, and what they must not hide."""

from typing import Any

from tests.manifest.diff.manifests import at, difference, document, manifest
from verifier.manifest.diff import Fact, compare, divergence_table, read_document
from verifier.model.result import Severity

SCRIPT = "true"
CLI: dict[str, Any] = {
    "allowed_envs": ["DSTACK_AUTHORIZED_KEYS"],
    "features": ["kms", "tproxy-net"],
    "name": "",
    "pre_launch_script": SCRIPT,
    "storage_fs": "zfs",
    "tproxy_enabled": True,
    "public_tcbinfo": True,
}
API: dict[str, Any] = CLI | {
    "allowed_envs": [],
    "features": ["kms"],
    "name": "shared-key-demo-2",
    "tproxy_enabled": False,
}
SELF_HOSTED: dict[str, Any] = {
    "name": "",
    "gateway_enabled": False,
    "public_tcbinfo": None,
    "key_provider_id": "",
}


def test_one_app_on_three_paths_has_three_hashes() -> None:
    table = divergence_table([document(path) for path in (CLI, API, SELF_HOSTED)])
    rows = {row.label: row for row in table}
    assert rows["docker_compose_file"].equal
    assert len(set(rows["compose_hash"].values)) == 3
    assert rows["pre_launch_script"].values[2] is None
    assert not rows["pre_launch_script"].equal
    assert rows["features"].values == ("[kms, tproxy-net]", "[kms]", None)
    assert "runner" not in rows


def test_an_ssh_key_is_not_what_a_platform_merely_injects() -> None:
    found = compare(document(API), document(CLI))
    assert not found.platform_only
    assert at(found, "/allowed_envs").severity is Severity.CRITICAL
    assert not found.same_release


def test_another_name_is_what_a_platform_injects() -> None:
    found = compare(document(API), document(API | {"name": "other"}))
    assert (found.platform_only, found.same_release) == (True, True)
    assert any(item.rule == "DIF-004" for item in found.changes)
    assert not found.at_least(Severity.LOW)


def test_each_injected_field_and_its_twin_that_is_none() -> None:
    injected: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"storage_fs": "zfs"}),
        ({}, {"features": ["kms"]}),
        ({"public_tcbinfo": None}, {"public_tcbinfo": True}),
        ({}, {"key_provider_id": ""}),
        ({"manifest_version": 1}, {"manifest_version": 2}),
    ]
    assert all(difference(old, new).platform_only for old, new in injected)
    meant: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"public_tcbinfo": None}, {"public_tcbinfo": False}),
        ({}, {"key_provider_id": "aa" * 32}),
        ({"manifest_version": 2}, {"manifest_version": "3"}),
        ({}, {"pre_launch_script": "echo Phala Cloud Pre-Launch Script v0.0.14"}),
        ({}, {"storage_fs": "zfs", "public_logs": True}),
        ({}, {"docker_compose_file": "services: {}"}),
    ]
    assert not any(difference(old, new).platform_only for old, new in meant)


def test_equal_placeholders_say_nothing() -> None:
    hidden = {"docker_compose_file": "[MASKED]"}
    found = difference(hidden, hidden | {"name": "other"})
    assert not found.platform_only
    assert not found.same_release
    assert found.not_evaluable
    (row,) = [
        row
        for row in divergence_table([document(hidden), document(hidden)])
        if row.label == "docker_compose_file"
    ]
    assert row.absent


def test_equal_bytes() -> None:
    found = compare(document(CLI), document(CLI))
    assert found.identical
    assert not found.changes


def test_the_same_json_in_other_bytes_is_another_hash() -> None:
    import json  # noqa: PLC0415

    old = read_document("old", json.dumps(manifest()).encode())
    new = read_document("new", json.dumps(manifest(), indent=4).encode())
    (change,) = compare(old, new).changes
    assert change.severity is Severity.INFO
    assert "other bytes" in change.meaning


def _with(facts: dict[str, Fact]) -> Any:
    import json  # noqa: PLC0415

    return read_document("m", json.dumps(manifest()).encode(), facts)


def test_what_is_known_of_the_guests() -> None:
    production = {"os_image": Fact({"release": "0.5.5", "kind": "production"}, "reference")}
    development = {"os_image": Fact({"release": "0.5.5", "kind": "development"}, "reference")}
    (change,) = compare(_with(production), _with(development)).changes
    assert (change.severity, change.fact) == (Severity.CRITICAL, "os_image")
    kms = {"key_provider": Fact({"name": "kms", "id": "aa"}, "measured")}
    other = {"key_provider": Fact({"name": "kms", "id": "bb"}, "measured")}
    none = {"key_provider": Fact({"name": "none", "id": ""}, "measured")}
    assert compare(_with(kms), _with(other)).changes[0].severity is Severity.HIGH
    assert compare(_with(kms), _with(none)).changes[0].severity is Severity.CRITICAL
    owner = {"app_owner": Fact("0x01", "chain")}
    (said,) = compare(_with(owner), _with({"app_owner": Fact("0x02", "asserted")})).changes
    assert said.conditional
    assert not compare(_with(owner), _with({})).changes


def test_a_manifest_that_is_not_the_measured_one_is_not_evaluable() -> None:
    forged = _with({"compose_hash": Fact("aa" * 32, "measured")})
    assert compare(forged, forged).not_evaluable
    own = _with({"compose_hash": Fact(forged.sha256, "measured")})
    assert not compare(own, own).not_evaluable
