"""`requirements` and `port_policy`: what a guest refuses, and what the gateway forwards.

Source: Dstack-TEE/dstack dstack-types/src/lib.rs. Below `requirements` more is tighter, except for
what says `allow`; a difference whose direction is not clear counts as weaker.
"""

from collections.abc import Iterator
from typing import Final

from verifier.manifest.diff.change import DIVERGENCE, Change, shown
from verifier.manifest.diff.document import Document
from verifier.manifest.diff.fields import field_change
from verifier.model.result import JsonValue, Severity

_DEFAULTS: Final[dict[str, JsonValue]] = {
    "gpu_policy/attest_gpu": True,
    "gpu_policy/allow_devtools": False,
    "gpu_policy/allow_debug": False,
    "gpu_policy/allow_insecure_boot": False,
    "tdx_measure_acpi_tables": False,
}


def compare_gates(old: Document, new: Document) -> Iterator[Change]:
    """The differences below `requirements` and `port_policy`."""
    yield from _requirements(old, new)
    yield from _port_policy(old, new)


def _requirements(old: Document, new: Document) -> Iterator[Change]:
    before = _leaves(old.app.document.get("requirements"))
    after = _leaves(new.app.document.get("requirements"))
    place = (new if after else old).manifest.place_of("requirements")
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if shown(one) == shown(other):
            continue
        tighter = _tighter(name, one, other)
        yield Change(
            rule=DIVERGENCE,
            severity=Severity.INFO if tighter else Severity.HIGH,
            pointer=f"/requirements/{name}",
            meaning="the guest is asked for more" if tighter else "the guest is asked for less",
            before=shown(one),
            after=shown(other),
            line=place.line,
            column=place.column,
        )


def _tighter(name: str, before: JsonValue, after: JsonValue) -> bool:
    if name in _DEFAULTS:
        assumed = _DEFAULTS[name]
        before, after = (assumed if value is None else value for value in (before, after))
        good = "allow" not in name
        return after is good or before is after
    if after is None:
        return False
    if before is None or name.endswith("launch_token_hash"):
        return True
    if isinstance(before, list) and isinstance(after, list):
        kept = {shown(item) for item in before}
        return bool(after) and all(shown(item) in kept for item in after)
    return False


def _leaves(value: JsonValue, path: str = "") -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        return {path: value} if path and value is not None else {}
    found: dict[str, JsonValue] = {}
    for key, item in value.items():
        found |= _leaves(item, f"{path}/{key}" if path else key)
    return found


def _port_policy(old: Document, new: Document) -> Iterator[Change]:
    before, after = (document.app.object("port_policy") for document in (old, new))
    if before == after:
        return
    strict, still = (policy.get("restrict_mode") is True for policy in (before, after))
    if strict and not still:
        meaning = "the gateway forwards every port again"
        yield field_change(old, new, "port_policy", Severity.MEDIUM, meaning)
        return
    added = _ports(after) - _ports(before)
    if added and strict and still:
        meaning = f"the gateway forwards more ports: {', '.join(sorted(added))}"
        yield field_change(old, new, "port_policy", Severity.LOW, meaning)
        return
    meaning = "the gateway forwards listed ports alone" if still and not strict else "it changes"
    yield field_change(old, new, "port_policy", Severity.INFO, meaning)


def _ports(policy: dict[str, JsonValue]) -> set[str]:
    rows = policy.get("ports")
    listed = rows if isinstance(rows, list) else []
    return {shown(row.get("port")) or "" for row in listed if isinstance(row, dict)}
