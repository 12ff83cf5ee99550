"""What a comparison gives: changes with their meaning, and the four rules that they fall under."""

from typing import Final

from msgspec import Struct

from verifier.manifest.diff.document import Document
from verifier.manifest.secret_text import masked_value
from verifier.model.result import Finding, JsonValue, Severity

DIVERGENCE: Final = "DIF-001"
REGRESSION: Final = "DIF-002"
IMAGE: Final = "DIF-003"
PLATFORM: Final = "DIF-004"


class DiffRule(Struct, frozen=True, kw_only=True):
    """A rule that compares two manifests.

    id        the rule's id
    severity  what documentation says of it; each change has its own
    title     what is wrong, in one line
    what      what it finds
    why       why this matters
    fix       what to do
    source    where the rule comes from
    """

    id: str
    severity: Severity
    title: str
    what: str
    why: str
    fix: str
    source: str


RULES: Final = (
    DiffRule(
        id=DIVERGENCE,
        severity=Severity.INFO,
        title="A field differs",
        what="The manifests are compared field by field and, after anchors are resolved, service "
        "by service. An absent field equals its default only where the guest treats them alike. "
        "The severity is that of the difference, and its direction counts.",
        why="One docker_compose_file has another compose hash on every deploy path; some of the "
        "fields in which they differ are security changes.",
        fix="Decide field by field whether the change was meant.",
        source="dstack dstack-types/src/lib.rs",
    ),
    DiffRule(
        id=REGRESSION,
        severity=Severity.HIGH,
        title="The newer manifest is weaker",
        what="A finding of severity high or worse that the older one does not have (by rule and "
        "service), a digest that became a tag, a literal that became a variable the operator sets, "
        "an allowed name of a dangerous class, or a name no longer allowed that is still read.",
        why="A new review is needed, although the app was only updated.",
        fix="Take it back, or justify it in the open.",
        source="case studies of hermes and near.ai",
    ),
    DiffRule(
        id=IMAGE,
        severity=Severity.MEDIUM,
        title="Image changed without a claimed source",
        what="A digest differs, while tag and GIT_SHA are absent or unchanged; or the image comes "
        "from another repository.",
        why="New code runs, and nothing says from which commit.",
        fix="Publish the commit of each digest, and name it in the tag.",
        source="ERC-733, Stage 1",
    ),
    DiffRule(
        id=PLATFORM,
        severity=Severity.INFO,
        title="Only fields that the platform writes differ",
        what="The difference lies within name, features, tproxy_enabled, storage_fs, an explicit "
        "default of public_tcbinfo, an empty key_provider_id, one known pre-launch script for "
        "another, and manifest_version 1 or 2.",
        why="It tells another deploy path or platform version from a change of the app.",
        fix="None; each hash still has to be allowed on chain.",
        source="observed on Phala Cloud's command line, its API and a self-hosted VMM",
    ),
)
"""The rules that compare, for documentation."""


class Change(Struct, frozen=True, kw_only=True):
    """One difference.

    rule         the id of the rule that rates it
    severity     how much it matters
    pointer      RFC 6901 pointer into the newer manifest (into the older one for what is gone) that
                 goes on into docker_compose_file; "" for the whole, and for a `fact`
    meaning      what the difference means
    before       the older value as a short text; None where it is absent
    after        the newer value as a short text; None where it is absent
    service      the service that it is about; "" for none
    line         where it stands in docker_compose_file, from 1; 0 where it is not known
    column       where it stands in that line, from 1; 0 where it is not known
    findings     ids of the audit findings that come with it; () for none
    tells        the one of them whose message `meaning` gives; None for none
    conditional  whether it holds only under a condition that is not known; `meaning` names it
    fact         the claim that differs outside of the manifests; "" for a difference between them
    """

    rule: str
    severity: Severity
    pointer: str
    meaning: str
    before: str | None = None
    after: str | None = None
    service: str = ""
    line: int = 0
    column: int = 0
    findings: tuple[str, ...] = ()
    tells: Finding | None = None
    conditional: bool = False
    fact: str = ""


class Comparison(Struct, frozen=True, kw_only=True):
    """The changes from one document to the next.

    old            the older document
    new            the newer document
    changes        worst first
    not_evaluable  what could not be compared; () for nothing
    same_release   whether docker_compose_file is equal to the byte, and nothing else differs by
                   more than a low severity
    platform_only  whether the difference lies within the fields that platforms write
    """

    old: Document
    new: Document
    changes: tuple[Change, ...]
    not_evaluable: tuple[str, ...]
    same_release: bool
    platform_only: bool

    @property
    def identical(self) -> bool:
        """Whether the raw bytes are equal."""
        return self.old.raw == self.new.raw

    @property
    def compose_only(self) -> bool:
        """Whether one of them is a compose file alone, so that only services were compared."""
        return self.old.compose_only or self.new.compose_only

    def at_least(self, severity: Severity) -> tuple[Change, ...]:
        """The changes of this severity or worse."""
        return tuple(change for change in self.changes if change.severity.rank <= severity.rank)


MAX_SHOWN: Final = 200


def shown(value: JsonValue) -> str | None:
    """A value as a short text without secrets; None for an absent one. A long text keeps its
    beginning."""
    if value is None:
        return None
    text = _text(masked_value(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text)} characters)"


def _text(value: JsonValue) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
