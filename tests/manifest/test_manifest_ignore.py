"""Comments and baselines silence an author's own findings, visibly, and expire."""

import json
from datetime import date

import pytest

from verifier.errors import UsageError
from verifier.manifest.audit import ManifestAudit, audit_compose_file, audit_manifest
from verifier.manifest.ignore import fingerprints, parse_baseline, sift

TODAY = date(2026, 12, 1)
TEXT = "services:\n  web:\n    image: redis:7-alpine{}\n    ports: ['22:22']\n"
ENTRY = '[[ignore]]\nrule = "IMG-005"\nreason = "known"\nexpires = 2027-01-01\n'


def audit(comment: str = "") -> ManifestAudit:
    return audit_compose_file(TEXT.format(comment).encode())


def rules(found: object) -> set[str]:
    return {item.rule for item in found}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("comment", "ignored"),
    [
        (" # verify: ignore IMG-005 pulled by hand", True),
        (" # verify: ignore IMG-004 another rule", False),
        (" # verify: ignore IMG-005", False),
        (" # please ignore IMG-005", False),
    ],
)
def test_comments(comment: str, ignored: bool) -> None:  # noqa: FBT001 - a column of the table
    sifted = sift(audit(comment), (), TODAY, comments=True)
    assert ("IMG-005" in rules(i.finding for i in sifted.ignored)) is ignored
    assert ("IMG-005" in rules(sifted.findings)) is not ignored
    unheard = sift(audit(comment), (), TODAY, comments=False)
    assert "IMG-005" in rules(unheard.findings)
    assert not unheard.ignored


def test_a_comment_on_the_line_above() -> None:
    text = "services:\n  web:\n    # verify: ignore IMG-005 by hand\n    image: redis:7-alpine\n"
    sifted = sift(audit_compose_file(text.encode()), (), TODAY, comments=True)
    assert [item.reason for item in sifted.ignored] == ["by hand"]


def test_a_comment_without_a_reason_is_noted() -> None:
    sifted = sift(audit(" # verify: ignore IMG-005"), (), TODAY, comments=True)
    assert "without a reason" in sifted.notes[0]


def test_a_baseline_counts_until_its_date() -> None:
    entries = parse_baseline(ENTRY.encode())
    before = sift(audit(), entries, TODAY, comments=True)
    assert [item.reason for item in before.ignored] == ["known"]
    after = sift(audit(), entries, date(2027, 1, 1), comments=True)
    assert not after.ignored
    assert "expired" in after.notes[0]


def test_an_entry_that_matches_nothing_is_noted() -> None:
    entries = parse_baseline(ENTRY.replace("IMG-005", "SVC-002").encode())
    assert "matches nothing" in sift(audit(), entries, TODAY, comments=True).notes[0]


def test_entries_are_narrowed() -> None:
    found = audit()
    place = [finding.rule for finding in found.findings].index("IMG-005")
    right = f'fingerprint = "{fingerprints(found)[place]}"\n'
    for line, ignored in (
        ('service = "web"\n', 1),
        ('service = "db"\n', 0),
        (right, 1),
        ('fingerprint = "00"\n', 0),
    ):
        entries = parse_baseline((ENTRY + line).encode())
        assert len(sift(found, entries, TODAY, comments=True).ignored) == ignored


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "a = " + "1" * 5000,
        "a = " + "[" * 5000,
        "a = 1",
        "ignore = 1",
        "[[ignore]]",
        '[[ignore]]\nrule = "IMG-005"\nexpires = 2027-01-01',
        '[[ignore]]\nrule = "IMG-999"\nreason = "r"\nexpires = 2027-01-01',
        '[[ignore]]\nrule = "IMG-005"\nreason = "r"',
        '[[ignore]]\nrule = "IMG-005"\nreason = "r"\nexpires = "soon"',
        '[[ignore]]\nrule = "IMG-005"\nreason = 1\nexpires = 2027-01-01',
        ENTRY + 'other = "x"',
    ],
)
def test_malformed_baselines(text: str) -> None:
    with pytest.raises(UsageError):
        parse_baseline(text.encode())


def test_fingerprints_stay_when_lines_move_and_are_unique() -> None:
    first = dict(zip((f.rule for f in audit().findings), fingerprints(audit()), strict=True))
    moved = audit_compose_file(("# one more line\n" + TEXT.format("")).encode())
    again = dict(zip((f.rule for f in moved.findings), fingerprints(moved), strict=True))
    assert first == again
    many = audit_compose_file(b"services: {a: {command: sh -c 'echo $A $B', environment: [A, A]}}")
    assert len(set(fingerprints(many))) == len(many.findings)


PADDED = '{{\n\n\n\n "manifest_version": 2,\n "runner": {},\n "docker_compose_file": {}\n}}'


@pytest.mark.parametrize("runner", ["docker-compose", "bash"])
@pytest.mark.parametrize(
    "text", ["[MASKED]", "", " \n", "\n\n\n\n\n\n\n# verify: ignore MAN-002 x"]
)
def test_a_finding_of_the_manifest_is_on_no_line_of_the_compose_file(
    runner: str, text: str
) -> None:
    raw = PADDED.format(json.dumps(runner), json.dumps(text)).encode()
    found = audit_manifest(raw)
    for comments in (True, False):
        sifted = sift(found, (), TODAY, comments=comments)
        assert not sifted.ignored
        assert sifted.findings == found.findings
    one_line = json.dumps(json.loads(raw)).encode()
    if text in ("[MASKED]", ""):
        assert fingerprints(audit_manifest(one_line)) == fingerprints(found)


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        (ENTRY.replace("IMG-005", "IMG-05"), "did you mean IMG-"),
        (ENTRY.replace("reason", "reasn"), "did you mean reason?"),
    ],
)
def test_a_mistake_in_a_baseline_names_what_was_meant(entry: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_baseline(entry.encode())
    assert hint in raised.value.hint


def test_a_comment_about_no_rule_is_noted() -> None:
    sifted = sift(audit(" # verify: ignore IMG-999 because"), (), TODAY, comments=True)
    assert sifted.notes[0].startswith("line 3: there is no rule IMG-999: did you mean IMG-")
