"""The corpus that is here: whole, as generated, and answered rightly by this auditor."""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import vectors
from tests.worlds.audited import audit
from verifier.checks.catalogue import CHECKS
from verifier.conformance.corpus import LINKS, read_corpus
from verifier.conformance.judge import count, judge
from verifier.errors import EvidenceError
from verifier.lab.attacks import ATTACKS
from verifier.lab.knobs import Knobs

LEAST = 150
ABOUT = "vector.json"


@pytest.mark.parametrize("link", LINKS)
def test_this_auditor_is_right_and_refuses_by_the_check_that_is_named(link: str) -> None:
    """Evidence that nobody can read is refused before any check."""
    answers = [judge(vector) for vector in read_corpus(vectors.ROOT, (link,))]
    assert [(item.vector.name, item.problem) for item in answers if not item.right] == []
    forged = [item for item in answers if item.vector.expected == "reject"]
    assert 0 < len(forged) < count(answers)[link].vectors
    for item in forged:
        judged = any(f"{spec.id}: " in item.problem for spec in CHECKS)
        assert not judged or f"{item.vector.check}: " in item.problem, item.vector.name


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    held = read_corpus(vectors.ROOT)
    assert len(held) >= LEAST
    assert len({(item.link, item.name) for item in held}) == len(held)


def test_what_is_made_by_a_system_is_what_is_here() -> None:
    made = vectors.systematic(audit(Knobs()))
    assert [name for name, raw in made.items() if (vectors.ROOT / name).read_bytes() != raw] == []
    attacks = {f"{item.name}_fail" for item in ATTACKS}
    others = [
        item for item in read_corpus(vectors.ROOT) if f"{item.link}/{item.name}/{ABOUT}" not in made
    ]
    assert [item.name for item in others if item.name not in attacks and item.check] == []


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A corpus of one vector."""
    held = read_corpus(vectors.ROOT, ("manifest",))
    vector = next(item.folder for item in held if item.expected == "accept")
    shutil.copytree(vector, tmp_path / "manifest" / vector.name)
    shutil.copytree(vectors.ROOT / "reference", tmp_path / "reference")
    return tmp_path


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("schema", "verify/vector-v9", "this version reads"),
        ("link", "quote", "something else than its place"),
        ("expected", "reject", "something else than its place"),
        ("check", "hardware.quote", "something else than its place"),
        ("at", "yesterday", "is no time"),
        ("at", 5, "at"),
        ("reference", "../../etc/passwd", "no file of this corpus"),
        ("root", "reference", "no file of this corpus"),
        ("policy", "", "no built-in policy"),
        ("policy", "../baseline.toml", "no built-in policy"),
        ("app_id", "00", "no app id"),
        ("sha256", None, "sha256"),
        ("sha256", {}, "it was changed"),
    ],
)
def test_a_damaged_vector_is_named(copied: Path, member: str, value: object, said: str) -> None:
    path = next(copied.glob(f"manifest/*/{ABOUT}"))
    path.write_text(json.dumps({**json.loads(path.read_bytes()), member: value}))
    with pytest.raises(EvidenceError, match=said) as raised:
        read_corpus(copied)
    assert path.parent.name in raised.value.message


def test_a_folder_without_its_description_is_named(copied: Path) -> None:
    next(copied.glob(f"manifest/*/{ABOUT}")).unlink()
    with pytest.raises(EvidenceError, match=ABOUT):
        read_corpus(copied)


def test_an_empty_folder_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no vectors"):
        read_corpus(tmp_path)


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _beside(name: bytes) -> Callable[[Path], object]:
    """Put something beside a file."""
    return lambda path: Path(os.fsdecode(bytes(path.parent) + b"/" + name)).write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("manifest/*/quote.bin", lambda path: path.write_bytes(b""), "it was changed"),
        ("manifest/*/event_log.json", _append, "it was changed"),
        ("manifest/*/app-compose.json", Path.unlink, "is not there"),
        ("manifest/*/quote.bin", _beside(b".DS_Store"), "is no part of this vector"),
        ("manifest/*/quote.bin", _beside(b"\xff"), "is no part of this vector"),
        ("manifest/*/quote.bin", lambda path: (path.parent / "more").mkdir(), "is no part of"),
        ("manifest/*/quote.bin", _folder, "no regular file"),
        ("manifest/*/quote.bin", _pipe, "no regular file"),
        ("manifest/*/quote.bin", lambda path: os.truncate(path, 5 << 30), "larger than"),
        ("reference/*.json", _append, "it was changed"),
        ("reference/*.der", _append, "it was changed"),
    ],
    ids=itertools.count(),
)
def test_damaged_evidence_is_named_and_nobody_is_asked_about_it(
    copied: Path, name: str, damage: Callable[[Path], object], said: str
) -> None:
    """A verifier is right to reject it, and that would count as right of what is forged."""
    read_corpus(copied)
    used = json.loads(next(copied.glob(f"manifest/*/{ABOUT}")).read_bytes())["sha256"]
    damage(
        next(path for path in copied.glob(name) if {path.name, f"reference/{path.name}"} & {*used})
    )
    with pytest.raises(EvidenceError, match=said):
        read_corpus(copied)


def test_reference_values_that_are_none_are_named(copied: Path) -> None:
    about = next(copied.glob(f"manifest/*/{ABOUT}"))
    vector = json.loads(about.read_bytes())
    (copied / "reference" / "none.json").write_bytes(b"{}")
    digests = {**vector["sha256"], "reference/none.json": hashlib.sha256(b"{}").hexdigest()}
    vector |= {"reference": "reference/none.json", "sha256": digests}
    del digests["reference/world.json"]
    about.write_text(json.dumps(vector))
    with pytest.raises(EvidenceError, match=r"none\.json: reference values"):
        read_corpus(copied)


def test_a_vector_that_changes_meanwhile_is_no_rejection(copied: Path) -> None:
    (vector,) = read_corpus(copied)
    (vector.folder / "quote.bin").write_bytes(b"")
    with pytest.raises(EvidenceError, match="it was changed"):
        judge(vector)
