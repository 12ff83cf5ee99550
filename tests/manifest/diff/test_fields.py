"""The manifest's fields: what each difference weighs, in each direction."""

from typing import Any

import pytest

from tests.manifest.diff.manifests import at, difference, verdict
from verifier.reference import prelaunch_scripts

HEX = "aa" * 32
OTHER = "bb" * 32


@pytest.mark.parametrize(
    ("field", "old", "new", "severity", "back"),
    [
        ("public_tcbinfo", True, False, "high", "info"),
        ("public_logs", False, True, "medium", "info"),
        ("public_sysinfo", False, True, "low", "low"),
        ("no_instance_id", False, True, "medium", "info"),
        ("secure_time", True, False, "low", "info"),
        ("storage_fs", "zfs", "ext4", "low", "info"),
        ("key_provider_id", HEX, "", "medium", "info"),
        ("key_provider_id", HEX, OTHER, "high", "high"),
        ("kms_enabled", True, False, "critical", "info"),
        ("gateway_enabled", True, False, "low", "low"),
        ("name", "app", "other", "info", "info"),
        ("swap_size", 1, 2, "info", "info"),
        ("event_log_version", 1, 2, "info", "info"),
        ("salt", "a", "b", "info", "info"),
        ("init_script", "true", "false", "high", "high"),
        ("verity_volumes", [{"root": HEX}], [{"root": OTHER}], "high", "high"),
        ("launch_token_hash", HEX, OTHER, "info", "info"),
        ("launch_token_hash", HEX, None, "high", "info"),
        ("docker_config", None, {"username": "u"}, "medium", "info"),
        ("allowed_env", None, ["A"], "medium", "low"),
        ("colour", None, "red", "low", "low"),
        ("x-note", None, "n", "info", "info"),
        ("manifest_version", 1, 2, "info", "info"),
    ],
)
def test_each_field_in_each_direction(
    field: str, old: Any, new: Any, severity: str, back: str
) -> None:
    forward = difference({field: old}, {field: new})
    backward = difference({field: new}, {field: old})
    assert at(forward, f"/{field}").severity.value == severity
    assert at(backward, f"/{field}").severity.value == back


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("public_logs", False),
        ("public_tcbinfo", True),
        ("secure_time", True),
        ("key_provider_id", ""),
        ("storage_fs", "zfs"),
        ("allowed_envs", []),
    ],
)
def test_absent_is_the_default_where_the_guest_treats_them_alike(field: str, default: Any) -> None:
    found = difference({field: None}, {field: default})
    assert [change.severity.value for change in found.changes] == ["info"] * len(found.changes)
    assert found.changes


def test_allowed_envs_that_vanish_may_mean_every_name() -> None:
    found = difference({"allowed_envs": ["A"]}, {"allowed_envs": None})
    assert found.not_evaluable
    assert difference({"allowed_envs": []}, {"allowed_envs": None}).at_least(
        found.changes[0].severity.MEDIUM
    )


def test_true_is_not_one() -> None:
    assert difference({"swap_size": 1}, {"swap_size": True}).changes


def test_the_effective_provider_counts() -> None:
    same = difference({}, {"key_provider": "kms"})
    assert at(same, "/key_provider").severity.value == "info"
    other = difference({}, {"key_provider": "tpm"})
    assert at(other, "/key_provider").severity.value == "critical"
    weaker = difference({"kms_enabled": False, "key_provider": "tpm"}, {"kms_enabled": False})
    assert at(weaker, "/key_provider").severity.value == "high"


def test_the_effective_gateway_counts() -> None:
    found = difference({"features": ["kms", "tproxy-net"]}, {"features": ["kms"]})
    assert at(found, "/features").severity.value == "info"
    legacy = {"gateway_enabled": None}
    opened = difference({**legacy}, {**legacy, "features": ["tproxy-net"]})
    assert at(opened, "/features").severity.value == "low"


@pytest.mark.parametrize(
    ("old", "new", "severity", "back"),
    [
        ({"launch_token_hash": HEX}, {}, "high", "info"),
        ({"platforms": ["tdx"]}, {"platforms": ["tdx", "snp"]}, "high", "info"),
        (
            {"gpu_policy": {"allow_debug": False}},
            {"gpu_policy": {"allow_debug": True}},
            "high",
            "info",
        ),
        ({"gpu_policy": {}}, {"gpu_policy": {"attest_gpu": False}}, "high", "info"),
        ({"os_version": "0.5.6"}, {"os_version": "0.5.5"}, "high", "high"),
    ],
)
def test_requirements(old: Any, new: Any, severity: str, back: str) -> None:
    def worst(one: Any, other: Any) -> str:
        found = difference(
            {"manifest_version": "3", "requirements": one},
            {"manifest_version": "3", "requirements": other},
        )
        return found.changes[0].severity.value

    assert (worst(old, new), worst(new, old)) == (severity, back)


def test_requirements_below_version_three_are_a_dropped_gate() -> None:
    gate = {"requirements": {"platforms": ["tdx"]}}
    found = difference({"manifest_version": "3", **gate}, {"manifest_version": 2, **gate})
    assert at(found, "/manifest_version").severity.value == "medium"


def test_port_policy() -> None:
    strict = {"port_policy": {"restrict_mode": True, "ports": [{"port": 80}]}}
    more = {"port_policy": {"restrict_mode": True, "ports": [{"port": 80}, {"port": 81}]}}
    assert at(difference(strict, {}), "/port_policy").severity.value == "medium"
    assert at(difference({}, strict), "/port_policy").severity.value == "info"
    assert at(difference(strict, more), "/port_policy").severity.value == "low"
    assert at(difference(more, strict), "/port_policy").severity.value == "info"


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("DSTACK_AUTHORIZED_KEYS", "critical"),
        ("LD_PRELOAD", "critical"),
        ("UNUSED_URL", "low"),
    ],
)
def test_an_added_name_weighs_what_it_opens(name: str, severity: str) -> None:
    change = at(difference({}, {"allowed_envs": [name]}), "/allowed_envs")
    expected = "DIF-002" if severity in {"critical", "high"} else "DIF-001"
    assert verdict(change) == (expected, severity)
    gone = at(difference({"allowed_envs": [name]}, {}), "/allowed_envs")
    assert verdict(gone) == ("DIF-001", "info")


def test_the_order_of_names_is_no_change_of_meaning() -> None:
    found = difference({"allowed_envs": ["A_X", "B_X"]}, {"allowed_envs": ["B_X", "A_X"]})
    assert verdict(at(found, "/allowed_envs")) == ("DIF-001", "info")


def test_a_name_that_is_gone_and_still_read() -> None:
    compose = "services:\n  app:\n    image: a/b@sha256:" + "0123456789abcdef" * 4
    compose += "\n    environment:\n      - APP_SECRET_KEY\n"
    found = difference(
        {"docker_compose_file": compose, "allowed_envs": ["APP_SECRET_KEY"]},
        {"docker_compose_file": compose, "allowed_envs": ["APP_AGENT_SECRET_KEY"]},
    )
    change = next(item for item in found.changes if item.before == "APP_SECRET_KEY")
    assert verdict(change) == ("DIF-002", "high")
    assert "renamed to APP_AGENT_SECRET_KEY" in change.meaning
    assert change.findings == ("ENV-012",)


def test_scripts_by_what_is_known_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        text: prelaunch_scripts.KnownScript(version, phala, "exact", "00" * 32)
        for text, version, phala in (
            ("ten", "v0.0.10", True),
            ("twelve", "v0.0.12", True),
            ("fourteen", "v0.0.14", True),
            ("token", prelaunch_scripts.LAUNCH_TOKEN, False),
        )
    }
    monkeypatch.setattr("verifier.manifest.diff.inputs.recognise_script", known.get)
    monkeypatch.setattr("verifier.manifest.diff.comparison.recognise_script", known.get)

    def severity(old: str | None, new: str | None) -> str:
        found = difference({"pre_launch_script": old}, {"pre_launch_script": new})
        return at(found, "/pre_launch_script").severity.value

    assert severity("ten", "twelve") == "medium"  # keys that the host chooses
    assert severity("twelve", "ten") == "info"
    assert severity("twelve", "fourteen") == "low"
    assert severity(None, "custom") == severity("twelve", "custom") == "high"
    assert severity("custom", "other") == "high"
    assert severity("custom", None) == "info"
    assert severity(None, "token") == "info"
    assert severity("token", None) == "medium"
    crossing = difference({"pre_launch_script": "ten"}, {"pre_launch_script": "twelve"})
    assert crossing.platform_only
    assert not crossing.same_release
