"""The top-level fields of two manifests: what each difference means, and how much it matters.

Source of the fields and their defaults: Dstack-TEE/dstack dstack-types/src/lib.rs.
"""

import re
from collections.abc import Iterator
from typing import Final

from verifier.evidence.compose.app_compose import FLAGS, KNOWN_FIELDS, LEGACY_FIELDS
from verifier.manifest.diff.change import DIVERGENCE, Change, shown
from verifier.manifest.diff.document import Document
from verifier.model.result import JsonValue, Location, Severity
from verifier.patterns import pattern

_Outcome = tuple[Severity, str]

_FLAG_MEANINGS: Final[dict[tuple[str, bool], _Outcome]] = {
    ("public_tcbinfo", False): (Severity.HIGH, "nobody outside can read the manifest any more"),
    ("public_tcbinfo", True): (Severity.INFO, "everybody can read the manifest now"),
    ("public_logs", True): (Severity.MEDIUM, "everybody can read the containers' logs"),
    ("public_logs", False): (Severity.INFO, "the containers' logs are no longer public"),
    ("public_sysinfo", True): (Severity.LOW, "system load and metrics become public"),
    ("public_sysinfo", False): (Severity.LOW, "system load and metrics are no longer public"),
    ("no_instance_id", True): (Severity.MEDIUM, "all instances share one disk key"),
    ("no_instance_id", False): (Severity.INFO, "each instance has a disk key of its own"),
    ("secure_time", False): (Severity.LOW, "the host's clock is believed"),
    ("secure_time", True): (Severity.INFO, "time is synchronised before the app starts"),
}
_PROVIDER_FIELDS: Final = frozenset({"kms_enabled", "local_key_provider_enabled", "key_provider"})
_GATEWAY_FIELDS: Final = frozenset({"gateway_enabled", "tproxy_enabled"})
_ROOT_CODE: Final = {
    "init_script": "other code runs as root before the containers",
    "bash_script": "other code runs as root in place of the containers",
    "runner": "another program starts the app: other fields of the manifest decide what runs",
}
_PLAIN: Final[dict[str, _Outcome]] = {
    "name": (Severity.INFO, "it has no effect, but it changes the compose hash"),
    "swap_size": (Severity.INFO, "another swap size"),
    "event_log_version": (Severity.INFO, "another form of the event log"),
    "salt": (Severity.INFO, "hashed, and read by no guest"),
    "version": (Severity.INFO, "hashed, and read by no guest"),
    "default_gateway_domain": (Severity.INFO, "read by Phala's pre-launch script alone"),
    "verity_volumes": (Severity.HIGH, "another measured volume: new code or data"),
    "snapshotter": (Severity.LOW, "containers are unpacked by another snapshotter"),
}
_RELEASE: Final = pattern(r"(\d+)\.(\d+)\.(\d+)", re.ASCII)
_LAST_TO_READ_CONFIG: Final = (0, 5, 4)  # docker_config; later guests do not know it
_OTHERS: Final = frozenset(
    {"docker_compose_file", "allowed_envs", "pre_launch_script", "requirements", "port_policy"}
)
"""Fields that other functions of this package compare."""


def compare_fields(old: Document, new: Document) -> Iterator[Change]:
    """The differences of all fields that this module knows, in the order of their names."""
    before, after = old.app.document, new.app.document
    for name in sorted(before.keys() | after.keys()):
        absent = (name in before) != (name in after)
        if name in _OTHERS or (not absent and _same(before[name], after[name])):
            continue
        severity, meaning = _judge(name, old, new)
        yield field_change(old, new, name, severity, meaning)


def field_change(
    old: Document, new: Document, name: str, severity: Severity, meaning: str
) -> Change:
    """The change of one whole field."""
    side = new if name in new.app.document else old
    known = name in KNOWN_FIELDS | LEGACY_FIELDS  # others may be so many that a search is slow
    place = side.manifest.place_of(name) if known else Location(pointer="")
    return Change(
        rule=DIVERGENCE,
        severity=severity,
        pointer=f"/{name.replace('~', '~0').replace('/', '~1')}",
        meaning=meaning,
        before=_shown(old, name),
        after=_shown(new, name),
        line=place.line,
        column=place.column,
    )


def _shown(document: Document, name: str) -> str | None:
    if name not in document.app.document:
        return None
    value = document.app.document[name]
    return "null" if value is None else shown(value)


def _same(one: JsonValue, other: JsonValue) -> bool:
    """Equality of JSON values in which true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_same(*pair) for pair in pairs)
    return type(one) is type(other) and one == other


def _judge(name: str, old: Document, new: Document) -> _Outcome:  # noqa: PLR0911 - one per field
    if name in _PROVIDER_FIELDS:
        return _provider(old, new)
    if name in _GATEWAY_FIELDS or name == "features":
        return _gateway(old, new)
    if name in FLAGS:
        return _flag(name, old, new)
    if name in _ROOT_CODE:
        return Severity.HIGH, _ROOT_CODE[name]
    if name in _PLAIN:
        return _PLAIN[name]
    special = _SPECIAL.get(name)
    if special is not None:
        return special(old, new)
    if name.startswith("x-"):
        return Severity.INFO, "an extension field: hashed, and read by no guest"
    known = name in KNOWN_FIELDS | LEGACY_FIELDS
    return (
        Severity.LOW,
        "it changes" if known else "no guest reads it; it may be misspelt (MAN-004)",
    )


def _flag(name: str, old: Document, new: Document) -> _Outcome:
    before, after = old.app.flags[name], new.app.flags[name]
    if before == after:
        return Severity.INFO, f"absent means {shown(FLAGS[name])}: the guest does the same"
    severity, meaning = _FLAG_MEANINGS[name, after]
    return severity, meaning


def _provider(old: Document, new: Document) -> _Outcome:
    before, after = old.app.provider, new.app.provider
    if before == after:
        return Severity.INFO, f"the key provider stays {after}"
    if after == "kms":
        return Severity.INFO, f"keys come from a KMS now, no longer from {before}: all keys are new"
    severity = Severity.CRITICAL if before == "kms" else Severity.HIGH
    return severity, f"keys come from {after}, no longer from {before}: other keys, other owner"


def _gateway(old: Document, new: Document) -> _Outcome:
    if old.app.gateway == new.app.gateway:
        state = "reaches" if new.app.gateway else "does not reach"
        return Severity.INFO, f"no effect: the gateway {state} the app in both"
    state = "now reaches" if new.app.gateway else "no longer reaches"
    return Severity.LOW, f"the gateway {state} the app"


def _key_provider_id(old: Document, new: Document) -> _Outcome:
    before, after = old.app.key_provider_id, new.app.key_provider_id
    if before == after:
        return Severity.INFO, "absent and empty are the same: no KMS is pinned"
    if not before:
        return Severity.INFO, "the app now accepts one KMS alone"
    if not after:
        return Severity.MEDIUM, "any KMS that the host names may now serve the app"
    return Severity.HIGH, "another KMS holds the app's keys"


def _storage_fs(old: Document, new: Document) -> _Outcome:
    before, after = (
        str(document.app.document.get("storage_fs") or "zfs").lower() for document in (old, new)
    )
    if before == after:
        return Severity.INFO, "absent means zfs: the guest does the same"
    if after == "zfs":
        return Severity.INFO, "the disk gains checksums; existing data are not carried over"
    return Severity.LOW, "the disk loses its checksums; existing data are not carried over"


def _manifest_version(old: Document, new: Document) -> _Outcome:
    gated = bool(old.app.object("requirements") or new.app.object("requirements"))
    if gated and old.app.version >= "3" > new.app.version:
        return Severity.MEDIUM, "guests ignore or refuse `requirements` below version 3"
    return Severity.INFO, "another version of the format"


def _launch_token_hash(old: Document, new: Document) -> _Outcome:
    if old.app.document.get("launch_token_hash") and not new.app.document.get("launch_token_hash"):
        return Severity.HIGH, "the script skips the launch token: the host can replace all values"
    return Severity.INFO, "another launch token"


def _docker_config(_: Document, new: Document) -> _Outcome:
    config = new.app.document.get("docker_config")
    release = _RELEASE.search(new.manifest.context.os_version)
    if config and (release is None or tuple(map(int, release.groups())) <= _LAST_TO_READ_CONFIG):
        return Severity.MEDIUM, "guests up to 0.5.4 take registry and credentials from it"
    return Severity.INFO, "no guest of today reads it"


_SPECIAL: Final = {
    "key_provider_id": _key_provider_id,
    "storage_fs": _storage_fs,
    "manifest_version": _manifest_version,
    "launch_token_hash": _launch_token_hash,
    "docker_config": _docker_config,
}
