"""Silencing findings, for authors who lint their own files: never in an audit.

    # verify: ignore RULE reason       on the line of the finding, or on the one above

A baseline is TOML. Each entry needs a rule, a reason and a date; `service` and `fingerprint` narrow
it. On its date it stops working.

    [[ignore]]
    rule = "IMG-004"
    service = "web"
    reason = "moves to a digest with release 2"
    expires = 2027-01-31
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Final

from msgspec import Struct

from verifier.errors import UsageError, did_you_mean
from verifier.evidence.codec import parse_toml
from verifier.manifest.audit import ManifestAudit
from verifier.manifest.rules.catalogue import TEXTS
from verifier.model.result import Finding
from verifier.patterns import pattern

_COMMENT: Final = pattern(r"#\s*verify:\s*ignore\s+([A-Z]{3}-\d{3})\b[ \t]*(.*)$")
_KEYS: Final = frozenset({"rule", "service", "fingerprint", "reason", "expires"})
_INDEX: Final = pattern(r"/\d+(?=/|$)")


class BaselineEntry(Struct, frozen=True, kw_only=True):
    """What somebody decided to live with until a date; "" in a field means any."""

    rule: str
    service: str
    fingerprint: str
    reason: str
    expires: date


class Ignored(Struct, frozen=True):
    """A finding that does not count, and why."""

    finding: Finding
    reason: str


class Sifted(Struct, frozen=True, kw_only=True):
    """Findings that count, and those that do not.

    `remarks` are about comments that silence, `stale` about entries of the baseline that silence
    nothing here; `used` are the entries that some finding meets.
    """

    findings: tuple[Finding, ...]
    ignored: tuple[Ignored, ...]
    remarks: tuple[str, ...]
    stale: tuple[str, ...]
    used: frozenset[BaselineEntry]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is wrong with comments and baseline, of one file alone."""
        return self.remarks + self.stale


def parse_baseline(raw: bytes) -> tuple[BaselineEntry, ...]:
    """The entries of a baseline file. Raises UsageError when it is malformed."""
    document = parse_toml(raw, "baseline")
    rows = document.pop("ignore", [])
    if document or not isinstance(rows, list):
        raise UsageError("baseline: only [[ignore]] entries belong into it")
    return tuple(_entry(row, f"baseline: entry {place}") for place, row in enumerate(rows, 1))


def _entry(row: object, what: str) -> BaselineEntry:
    if not isinstance(row, dict):
        raise UsageError(f"{what}: it is not a table")
    if unknown := sorted(row.keys() - _KEYS):
        listed = f"its keys are {', '.join(sorted(_KEYS))}"
        raise UsageError(
            f"{what}: unknown key {unknown[0]!a}", hint=did_you_mean(unknown[0], _KEYS, listed)
        )
    texts = {key: row.get(key, "") for key in _KEYS - {"expires"}}
    if not all(isinstance(text, str) for text in texts.values()):
        raise UsageError(f"{what}: everything but `expires` is text")
    expires = row.get("expires")
    if texts["rule"] not in TEXTS:
        raise UsageError(
            f"{what}: there is no rule {texts['rule']!a}",
            hint=did_you_mean(texts["rule"], TEXTS, "`verify explain` lists every rule"),
        )
    if not texts["reason"].strip():
        raise UsageError(f"{what}: it needs a reason")
    if type(expires) is not date:
        raise UsageError(f"{what}: it needs a date, as in `expires = 2027-01-31`")
    return BaselineEntry(expires=expires, **texts)


def sift(
    audit: ManifestAudit, baseline: tuple[BaselineEntry, ...], today: date, *, comments: bool
) -> Sifted:
    """Split the findings by comments (if they count) and baseline."""
    lines = audit.compose_lines if comments else []
    prints = fingerprints(audit)
    kept: list[Finding] = []
    ignored: list[Ignored] = []
    notes: list[str] = []
    used: set[BaselineEntry] = set()
    for finding, fingerprint in zip(audit.findings, prints, strict=True):
        reason = _by_comment(finding, lines) if audit.in_text(finding) else ""
        entry = next((e for e in baseline if _covers(e, finding, fingerprint)), None)
        if entry is not None:
            used.add(entry)
        if not reason and entry is not None and today < entry.expires:
            reason = entry.reason
        if reason:
            ignored.append(Ignored(finding, reason))
        else:
            kept.append(finding)
    for number, line in enumerate(lines, 1):
        comment = _COMMENT.search(line)
        if comment and comment[1] not in TEXTS:
            near = did_you_mean(comment[1], TEXTS, "`verify explain` lists every rule")
            notes.append(f"line {number}: there is no rule {comment[1]}: {near}")
        elif comment and not comment[2].strip():
            notes.append(f"line {number}: an ignore comment without a reason does not count")
    return Sifted(
        findings=tuple(kept),
        ignored=tuple(ignored),
        remarks=tuple(notes),
        stale=stale_entries(baseline, frozenset(used), today),
        used=frozenset(used),
    )


def stale_entries(
    baseline: tuple[BaselineEntry, ...], used: frozenset[BaselineEntry], today: date
) -> tuple[str, ...]:
    """What is said of entries that expired, or that no finding of any file meets."""
    notes: list[str] = []
    for entry in baseline:
        where = f"{entry.rule} {entry.service}".strip()
        if today >= entry.expires:
            notes.append(f"the baseline's entry for {where} expired on {entry.expires}")
        elif entry not in used:
            notes.append(f"the baseline's entry for {where} matches nothing")
    return tuple(notes)


def render_baseline(entries: Iterable[BaselineEntry]) -> str:
    """A baseline file with these entries, as `parse_baseline` reads it."""
    rows = []
    for entry in entries:
        # TOML cannot say every name that a service may have; the fingerprint covers it.
        service = entry.service if entry.service.isprintable() else ""
        texts = {"rule": entry.rule, "service": service, "fingerprint": entry.fingerprint}
        lines = [f"{key} = {_quoted(text)}" for key, text in texts.items() if text]
        lines += [f"reason = {_quoted(entry.reason)}", f"expires = {entry.expires.isoformat()}"]
        rows.append("\n".join(("[[ignore]]", *lines)) + "\n")
    return "\n".join(rows)


def _quoted(text: str) -> str:
    """A basic string of TOML 1.0."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def fingerprints(audit: ManifestAudit) -> tuple[str, ...]:
    """A name for each finding that stays when lines and list items move: 32 hex digits over rule,
    service, field and source line, numbered where several are alike."""
    lines = audit.compose_lines
    seen: Counter[str] = Counter()
    found: list[str] = []
    for finding in audit.findings:
        place = finding.location
        source = lines[place.line - 1].strip() if audit.in_text(finding) else finding.message
        parts = (finding.rule, finding.service, _INDEX.sub("/*", place.pointer), source)
        key = "\0".join(parts)
        seen[key] += 1
        digest = hashlib.sha256(f"{key}\0{seen[key]}".encode("utf-8", "replace"))
        found.append(digest.hexdigest()[:32])
    return tuple(found)


def _covers(entry: BaselineEntry, finding: Finding, fingerprint: str) -> bool:
    return (
        entry.rule == finding.rule
        and entry.service in {"", finding.service}
        and entry.fingerprint in {"", fingerprint}
    )


def _by_comment(finding: Finding, lines: list[str]) -> str:
    """The reason in a comment at the finding's line or on the line above it, "" without one."""
    place = finding.location
    own = lines[place.line - 1 : place.line]
    above = [line for line in lines[max(place.line - 2, 0) : place.line - 1] if _alone(line)]
    for line in (*own, *above):
        match = _COMMENT.search(line)
        if match and match[1] == finding.rule:
            return match[2].strip()
    return ""


def _alone(line: str) -> bool:
    return line.lstrip().startswith("#")
