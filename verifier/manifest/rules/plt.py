"""PLT: the OS image, and what the host hands to the guest."""

import re
from collections.abc import Iterator
from typing import Final

from verifier.manifest.model import Manifest
from verifier.manifest.rule import Hit, Need, at_top, on_field, on_text, rule
from verifier.model.result import Location, Severity
from verifier.patterns import pattern

_RELEASE: Final = pattern(r"[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}", re.ASCII)


@rule(
    "PLT-001",
    Severity.CRITICAL,
    "Development OS image",
    why="It has an SSH server and debugging tools: a root shell by a variable or by the host.",
    fix="Deploy on a production image.",
    source="dstack OS releases; case study of redpill",
    needs=(Need.OS,),
)
def development_os(manifest: Manifest) -> Iterator[Hit]:
    """The registers are those of a development image. A name proves nothing."""
    if manifest.context.os_kind == "development":
        yield at_top("the OS is a development image")


@rule(
    "PLT-002",
    Severity.HIGH,
    "OS image is unknown",
    why="Nobody audited its kernel and root file system.",
    fix="Use a released image.",
    source="dstack OS releases; DstackKms.allowedOsImages",
    needs=(Need.OS,),
)
def unknown_os(manifest: Manifest) -> Iterator[Hit]:
    """The registers are of no image that is known."""
    if manifest.context.os_kind == "unknown":
        yield at_top("no known image gives these registers")


@rule(
    "PLT-003",
    Severity.MEDIUM,
    "Old OS",
    why="Before 0.5.0 an absent allowed_envs meant every name, and Compose obeyed COMPOSE_FILE.",
    fix="Update, and set requirements.os_version.",
    source="dstack releases",
    needs=(Need.OS_VERSION,),
)
def old_os(manifest: Manifest) -> Iterator[Hit]:
    """The release is before 0.5.0."""
    release = _release(manifest.context.os_version)
    if release and release < (0, 5):
        yield at_top(f"the OS is {manifest.context.os_version}")


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a release such as `0.5.4` or `nvidia-dev-0.5.4.1`, () when it has none."""
    match = _RELEASE.search(text)
    return tuple(map(int, match[0].split("."))) if match else ()


@rule(
    "PLT-004",
    Severity.INFO,
    "Guest and KMS are of different generations",
    why="It explains a missing gateway certificate or domain.",
    fix="Update the KMS.",
    source="dstack releases 0.5.4 and 0.5.7",
    needs=(Need.OS_VERSION, Need.KMS_RELEASE),
)
def version_skew(manifest: Manifest) -> Iterator[Hit]:
    """A guest of 0.5.7 or later with a KMS before 0.5.6, which does not date the keys it signs."""
    context = manifest.context
    if _release(context.os_version) >= (0, 5, 7) and context.kms_dates_keys is False:
        yield at_top(f"the guest is {context.os_version}, and its KMS is older than 0.5.6")


@rule(
    "PLT-005",
    Severity.MEDIUM,
    "Values of the host are used, and nothing measures them",
    why="The host writes user_config, sys-config and vm_config.",
    fix="Treat them as untrusted.",
    source="dstack docs/security/security-best-practices.md; public report #615",
    needs=(Need.MANIFEST,),
)
def host_values(manifest: Manifest) -> Iterator[Hit]:
    """A script reads user_config or sys-config (Phala's does from v0.0.11 on), or a service mounts
    them."""
    known = manifest.known_script
    if known is not None and known.phala and "host-keys" in known.behaviours():
        yield on_field(manifest, "pre_launch_script", f"{known.name} reads user_config")
    for pointer, script in manifest.scripts.items():
        custom = not (known and known.phala and pointer == "/pre_launch_script")
        if custom and re.search(r"user[_-]config|sys-config", script):
            yield Hit(message="the script reads the host's files", place=Location(pointer=pointer))
    for service in manifest.services:
        for mount in service.mounts:
            if re.search(r"user[_-]config|sys-config", mount.real):
                yield on_text(mount.text, f"`{mount.source}` is the host's")


RULES: Final = (development_os, unknown_os, old_os, version_skew, host_values)
