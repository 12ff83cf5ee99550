"""`--manifests DIR`: what is known is what somebody can read."""

import hashlib
from pathlib import Path

import pytest

from verifier.cli.known_manifests import read_known
from verifier.cli.question import simulated_question
from verifier.collection import Past, Sources, collect_evidence
from verifier.errors import UsageError
from verifier.evidence.bundle import save
from verifier.lab.knobs import Knobs
from verifier.lab.world import build


@pytest.mark.parametrize("public", [True, False])
def test_a_manifest_that_was_only_seen_is_not_known(tmp_path: Path, *, public: bool) -> None:
    world = build(Knobs(public_tcbinfo=public))
    question = simulated_question(world.app_id, world.reference(), world.now)
    sources = Sources(responder=world.respond, cloud=False, past=Past.NONE)
    save(collect_evidence(question, sources, lambda: world.now), tmp_path / "earlier.tar")
    known = read_known(tmp_path, question.reference)
    digest = world.guest.compose_hash.hex()
    assert {item.compose_hash for item in known.sightings} == {digest}
    assert known.names == ({digest: "earlier.tar"} if public else {})
    assert set(known.texts) == set(known.names)


def test_a_file_is_a_manifest_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "app.json").write_bytes(b"{}\n")
    (tmp_path / ".hidden").write_bytes(b"{}")
    world = build(Knobs())
    reference = simulated_question(world.app_id, world.reference(), world.now).reference
    known = read_known(tmp_path, reference)
    assert known.names == {hashlib.sha256(b"{}\n").hexdigest(): "app.json"}
    assert known.sightings == ()


def test_a_broken_bundle_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar")
    world = build(Knobs())
    reference = simulated_question(world.app_id, world.reference(), world.now).reference
    with pytest.raises(UsageError, match="--manifests"):
        read_known(tmp_path, reference)
