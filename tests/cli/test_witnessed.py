"""`verify timeline --log`: the history of an app that has no public log."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.cli.command import Run
from tests.watch.logs import KEY, OTHER_KEY
from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import save
from verifier.lab.knobs import Knobs
from verifier.model.identifiers import format_time
from verifier.watch.observation import Observation, observe, unobserved
from verifier.watch.rounds import watching

HOUR = 3600


def looks(seen: Audited, name: str = "hosted") -> list[Observation]:
    """Three looks at an app, and one in vain between them."""
    app_id, now = seen.world.app_id, seen.world.now
    found = [observe(seen.again(at=now - hours * HOUR).report, app_id, name) for hours in (3, 2, 0)]
    return [*found[:2], unobserved(app_id, name, now - HOUR, "no answer", "simulated"), found[2]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Audited, Audited]:
    """A log about an app under a hosted KMS and one on chain, and bundles about both."""
    folder = tmp_path_factory.mktemp("witnessed")
    hosted, onchain = audit(Knobs(seed="hosted", kms="hosted")), audit(Knobs())
    with watching(folder / "log", KEY, [], 3) as watch:
        watch.take([*looks(hosted), *looks(onchain, "onchain")])
    save(hosted.bundle, folder / "hosted")
    save(onchain.bundle, folder / "onchain")
    (folder / "reference.json").write_bytes(hosted.world.reference())
    return folder, hosted, onchain


def arguments(folder: Path, which: str, audited: Audited) -> list[str]:
    return [
        *("timeline", audited.world.app_id, "--bundle", str(folder / which)),
        *("--trust-bundle", f"sha256:{audited.bundle.digest}", "--log", str(folder / "log")),
        *("--unsafe-root", str(folder / "reference.json"), "--at", format_time(audited.world.now)),
    ]


def test_an_app_without_a_public_log_has_the_history_that_was_witnessed(
    call: Run, kept: tuple[Path, Audited, Audited]
) -> None:
    folder, hosted, _ = kept
    own = ("--log-key", str(KEY.verifier))
    asked = arguments(folder, "hosted", hosted)
    ran = call(*asked, *own, "--format", "json")
    document = json.loads(ran.out)
    assert ran.code == 3
    assert (document["schema"], document["basis"]) == ("dstack-audit/witness-history/v1", "witness")
    manifest = hosted.claims()["compose_hash"].value
    assert [(item["compose_hash"], item["looks"]) for item in document["periods"]] == [
        (manifest, 3)
    ]
    assert [item["looks"] for item in document["unanswered"]] == [1]
    assert document["reason"]
    _schema("witness-history").validate(document)
    for form in ("terminal", "markdown"):
        said = call(*asked, *own, "--format", form).out
        assert "key you named" in said
        assert "no guest answered" in said
        assert str(manifest) in said
    rows = call(*asked, *own, "--format", "csv").out.splitlines()
    assert (len(rows), rows[1].rpartition(",")[2]) == (2, '"witness"')


def _schema(name: str) -> Draft202012Validator:
    path = Path(__file__).parents[2] / "docs" / "schema" / f"{name}-v1.schema.json"
    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))


def test_without_the_key_it_is_only_said(call: Run, kept: tuple[Path, Audited, Audited]) -> None:
    folder, hosted, _ = kept
    document = json.loads(call(*arguments(folder, "hosted", hosted), "--format", "json").out)
    assert document["basis"] == "asserted"


def test_what_was_witnessed_stands_beside_what_the_chain_says(
    call: Run, kept: tuple[Path, Audited, Audited]
) -> None:
    folder, _, onchain = kept
    asked = arguments(folder, "onchain", onchain)
    ran = call(*asked, "--log-key", str(KEY.verifier), "--format", "json")
    document = json.loads(ran.out)
    assert document["witness"]["basis"] == "witness"
    _schema("timeline").validate(document)
    assert [item["looks"] for item in document["witness"]["periods"]] == [3]
    at = asked.index("--log")
    plain = json.loads(call(*asked[:at], *asked[at + 2 :], "--format", "json").out)
    assert "witness" not in plain
    assert document["events"] == plain["events"]
    for form, heading in (("terminal", "SEEN BY AN AUDITOR"), ("markdown", "What an auditor saw")):
        assert heading in call(*asked, "--format", form).out


def test_a_log_of_another_key_or_about_another_world_counts_for_nothing(
    call: Run, kept: tuple[Path, Audited, Audited]
) -> None:
    folder, hosted, _ = kept
    asked = arguments(folder, "hosted", hosted)
    ran = call(*asked, "--log-key", str(OTHER_KEY.verifier))
    assert ran.code == 3
    assert "another-key" in ran.err
    at = asked.index("--unsafe-root")
    ran = call(*asked[:at], *asked[at + 2 :], "--log-key", str(KEY.verifier))
    assert ran.code == 3
    assert not ran.out


def test_a_log_needs_to_know_which_app(call: Run, kept: tuple[Path, Audited, Audited]) -> None:
    folder, *_ = kept
    ran = call("timeline", folder / "hosted", "--log", folder / "log")
    assert ran.code == 2
    assert "app id" in ran.err
