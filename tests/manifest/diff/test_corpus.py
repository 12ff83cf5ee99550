"""Deployed manifests, with the regressions that were found in them by hand."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.manifest.diff.manifests import verdict
from verifier.manifest.diff import (
    VMM_FLAGS,
    Change,
    Comparison,
    Document,
    compare,
    compose_paths,
    deploy_paths,
    read_document,
)

DEPLOYED = Path(__file__).resolve().parents[4] / "shared" / "corpus" / "deployed"

pytestmark = pytest.mark.skipif(
    not DEPLOYED.is_dir(), reason="the shared corpus is not part of the project"
)


def deployed(start: str) -> Document:
    (path,) = DEPLOYED.glob(f"*{start}.json")
    return read_document(start, path.read_bytes())


def between(old: str, new: str) -> Comparison:
    return compare(deployed(old), deployed(new))


BY_VMM = ("52a82a58", "4676ec04", "66007399", "198a7e5c", "04bd0ce0", "65b0da4c", "8929acee")
"""Manifests whose form is that of `vmm-cli.py compose`, as they were measured."""
BY_PHALA = ("cd5af141", "e7f7f14e", "ca21eb9c", "14e67b39", "5e4f4fba", "61af63ca")


@pytest.mark.parametrize("start", BY_VMM)
def test_what_vmm_cli_makes_of_a_compose_file_is_exact(start: str) -> None:
    raw = deployed(start).raw
    document = json.loads(raw)
    paths = compose_paths(
        document["docker_compose_file"].encode(),
        document["name"],
        flags=[option for option, field in VMM_FLAGS.items() if document[field]],
        allowed=document["allowed_envs"],
        script=document.get("pre_launch_script"),
    )
    assert paths[0].compose_hash == hashlib.sha256(raw).hexdigest()
    own = {path.name: path for path in deploy_paths(raw)}["self-hosted, vmm-cli.py compose"]
    assert (own.compose_hash, own.changes) == (paths[0].compose_hash, ())


@pytest.mark.parametrize("start", BY_PHALA)
def test_what_phala_stores_is_canonical_and_complete(start: str) -> None:
    phala = deploy_paths(deployed(start).raw)[-1]
    assert phala.changes == ()
    assert phala.compose_hash is None


def about(comparison: Comparison, name: str) -> Change:
    """The one change of an allowed name."""
    (change,) = [
        item
        for item in comparison.changes
        if item.pointer == "/allowed_envs" and name in (item.before, item.after)
    ]
    return change


def image(comparison: Comparison, service: str) -> Change | None:
    pointer = f"/docker_compose_file/services/{service}/image"
    return next((item for item in comparison.changes if item.pointer == pointer), None)


def test_hermes_loses_a_digest() -> None:
    found = between("14e67b39", "5e4f4fba")
    agent = image(found, "hermes-agent")
    assert agent is not None
    assert verdict(agent) == ("DIF-002", "high")
    assert (agent.findings, agent.line) == (("IMG-005",), 25)
    renamed = about(found, "HERMES_SECRET_KEY")
    assert verdict(renamed) == ("DIF-002", "high")
    assert renamed.findings == ("ENV-012",)
    assert "renamed to HERMES_AGENT_SECRET_KEY" in renamed.meaning
    own = image(found, "hermes")
    assert own is not None
    assert verdict(own) == ("DIF-001", "info")
    assert image(found, "dstack-ingress") is None
    assert {item.rule for item in found.changes} == {"DIF-001", "DIF-002"}


def test_hermes_regains_it_and_opens_other_doors() -> None:
    found = between("5e4f4fba", "61af63ca")
    agent = image(found, "hermes-agent")
    assert agent is not None
    assert verdict(agent) == ("DIF-001", "info")
    added = {item.after for item in found.changes if item.pointer == "/allowed_envs" and item.after}
    names = ("BOT_HANDLE", "BOT_SECRET_KEY", "REGISTRATION_TOKEN", "SERVER_NAME", "SERVER_URL")
    assert added == {f"MATRIX_{name}" for name in (*names, "SIGNUP_URL")} | {"NEAR_AI_API_KEY"}
    assert verdict(about(found, "MATRIX_BOT_SECRET_KEY")) == ("DIF-002", "high")
    assert verdict(about(found, "MATRIX_SERVER_URL")) == ("DIF-002", "high")
    assert about(found, "NEAR_AI_API_KEY").findings == ("ENV-009",)
    gone = about(found, "GITHUB_TOKEN")
    assert (gone.findings, gone.service) == (("ENV-012",), "hermes-agent")
    images = [item for item in found.changes if item.pointer.endswith("/image")]
    assert all(item.severity.value == "info" for item in images)


def test_near_hands_a_trust_decision_to_the_operator() -> None:
    found = between("4676ec04", "66007399")
    pointer = "/docker_compose_file/services/compose-manager/environment/3"
    (age,) = [item for item in found.changes if item.pointer == pointer]
    assert verdict(age) == ("DIF-002", "high")
    assert age.before == "MIN_TAG_AGE_HOURS=2"
    assert verdict(about(found, "CM_MIN_TAG_AGE_HOURS")) == ("DIF-002", "high")
    added = {item.after for item in found.changes if item.pointer == "/allowed_envs"}
    extra = {"CVM_HOST", "CVM_NAME", "MONITORING_INGEST_TOKEN"}
    assert added == {"CM_MIN_TAG_AGE_HOURS"} | extra
    sourceless = [item.service for item in found.changes if item.rule == "DIF-003"]
    assert sourceless == ["compose-manager", "compose-manager-launcher"]


def test_every_manifest_equals_itself_and_differs_from_the_next() -> None:
    documents = [read_document(path.name, path.read_bytes()) for path in sorted(DEPLOYED.iterdir())]
    for item in documents:
        assert compare(item, item).changes == ()
    for old, new in pairwise(documents):
        assert compare(old, new).changes
        assert compare(old, new) == compare(old, new)
