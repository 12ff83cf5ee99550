"""What is known of the guests besides their manifests: OS, keys, identity, owner."""

from collections.abc import Iterator
from typing import Final

from verifier.manifest.diff.change import DIVERGENCE, Change, shown
from verifier.manifest.diff.document import Document
from verifier.model.result import JsonValue, Severity

_FACTS: Final = {
    "app_id": (Severity.INFO, "these are different apps"),
    "instance_id": (Severity.INFO, "these are different instances"),
    "device_id": (Severity.INFO, "they run on different machines"),
    "os_image": (Severity.LOW, "another OS runs"),
    "os_image_hash": (Severity.LOW, "another OS image runs"),
    "key_provider": (Severity.HIGH, "the keys come from another provider"),
    "kms": (Severity.HIGH, "another KMS holds the keys, under other governance"),
    "kms_root": (Severity.HIGH, "another root key signs the app's keys"),
    "app_owner": (Severity.HIGH, "somebody else decides what may run"),
    "kms_owner": (Severity.HIGH, "somebody else decides about the KMS"),
    "app_contract": (Severity.HIGH, "another contract decides what may run"),
}
_DEVELOPMENT: Final = "development"


def compare_guests(old: Document, new: Document) -> Iterator[Change]:
    """The facts that both have and that differ. What only one has is no difference."""
    for name, (severity, meaning) in _FACTS.items():
        before, after = old.facts.get(name), new.facts.get(name)
        if before is None or after is None or before.value == after.value:
            continue
        if name == "os_image_hash" and "os_image" in old.facts.keys() & new.facts.keys():
            continue  # the images that were told by their registers say it better
        worse, why = severity, meaning
        if name == "os_image" and _kind(after.value) == _DEVELOPMENT != _kind(before.value):
            worse, why = Severity.CRITICAL, "a development OS runs: its operator has a root shell"
        elif name == "key_provider" and _name(before.value) != _name(after.value):
            is_worse = _name(before.value) == "kms"
            worse = Severity.CRITICAL if is_worse else Severity.HIGH
        proven = after.proven and (before.proven or _kind(after.value) == _DEVELOPMENT)
        yield Change(
            rule=DIVERGENCE,
            severity=worse,
            pointer="",
            meaning=why if proven else f"{why} (as somebody says)",
            before=f"{shown(before.value)} ({before.basis})",
            after=f"{shown(after.value)} ({after.basis})",
            conditional=not proven,
            fact=name,
        )


def one_sided(old: Document, new: Document) -> tuple[str, ...]:
    """The facts that one of them has and the other has not, where either has any."""
    if not old.facts or not new.facts:
        return ()
    return tuple(name for name in _FACTS if (name in old.facts) != (name in new.facts))


def contradiction(document: Document) -> str:
    """Why the manifest may not be the one that its guest runs ("" = nothing says so)."""
    fact = document.facts.get("compose_hash")
    if fact is None or document.measured_hash in {document.sha256, ""}:
        return ""
    who = "measured" if fact.proven else "stated"
    return (
        f"{document.name}: the manifest's sha256 {document.sha256} is not the {who} compose hash "
        f"{document.measured_hash}: what is compared may not be what runs"
    )


def _kind(value: JsonValue) -> JsonValue:
    return value.get("kind") if isinstance(value, dict) else None


def _name(value: JsonValue) -> JsonValue:
    return value.get("name") if isinstance(value, dict) else None
