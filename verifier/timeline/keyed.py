"""The keys that an app's or KMS's events set or clear, and the getters that answer for each."""

from collections.abc import Iterable, Mapping
from typing import Final

from verifier.chain import calls
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contracts import Call
from verifier.model.chain import Role
from verifier.model.timeline import TimelineEvent

KEYED: Final[Mapping[tuple[Role, str], tuple[str, str]]] = {
    (Role.APP, "ComposeHash"): (contracts.ALLOWED_COMPOSE_HASHES, "allowedComposeHashes"),
    (Role.APP, "Device"): (contracts.ALLOWED_DEVICE_IDS, "allowedDeviceIds"),
    (Role.KMS, "OsImageHash"): (contracts.ALLOWED_OS_IMAGES, "allowedOsImages"),
    (Role.KMS, "KmsAggregatedMr"): (contracts.ALLOWED_KMS_BUILDS, "kmsAllowedAggregatedMrs"),
    (Role.KMS, "KmsDevice"): (calls.KMS_DEVICE_IDS, "kmsAllowedDeviceIds"),
}
"""(contract, event name without Added or Removed) → selector and name of the mapping's getter."""


def key_calls(
    role: Role, address: str, events: Iterable[TimelineEvent], block: str
) -> dict[tuple[str, str], Call]:
    """For every key that the events ever set or cleared: (stem, key) → the getter's call."""
    found: dict[tuple[str, str], Call] = {}
    for event in events:
        stem = _stem_of(event) if event.role is role else None
        if stem is not None and stem not in found:
            selector = KEYED[role, stem[0]][0]
            found[stem] = contracts.eth_call(address, selector + stem[1].rjust(64, "0"), block)
    return found


def _stem_of(event: TimelineEvent) -> tuple[str, str] | None:
    """(name without Added or Removed, key) of an event that sets or clears one key, else None."""
    for ending in ("Added", "Removed"):
        stem = event.name.removesuffix(ending)
        if stem != event.name and (event.role, stem) in KEYED:
            key = next(iter(event.args.values()), None)
            return (stem, key) if isinstance(key, str) else None
    return None
