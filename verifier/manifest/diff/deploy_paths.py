"""What becomes of a manifest on its way to a guest, and what may be odd about its bytes.

Sources: Dstack-TEE/dstack vmm/src/vmm-cli.py (`compose`, `deploy`), Phala Cloud API guide
(`POST /cvms/provision`), and manifests that were measured after each path was taken.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.app_compose import AppCompose, parse_app_compose
from verifier.model.result import JsonValue

_BOM: Final = b"\xef\xbb\xbf"
_PHALA_FIELDS: Final[dict[str, str]] = {
    "allowed_envs": "[]; from the command line [DSTACK_AUTHORIZED_KEYS] when it sends an SSH key",
    "features": "[kms, tproxy-net] from the command line, [kms] from the API",
    "gateway_enabled": "true",
    "kms_enabled": "true",
    "local_key_provider_enabled": "false",
    "manifest_version": "2",
    "name": "empty from the command line, the CVM's name from the API",
    "no_instance_id": "false",
    "pre_launch_script": "the script of the day, which Phala changes without notice",
    "public_logs": "true",
    "public_sysinfo": "true",
    "public_tcbinfo": "true",
    "runner": "docker-compose",
    "secure_time": "false",
    "storage_fs": "zfs",
    "tproxy_enabled": "true from the command line, false from the API",
}
"""What manifests on Phala Cloud have that their authors need not have written, as observed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployPath:
    """One way to deploy. `compose_hash` is None unless the resulting bytes are known exactly.

    `changes` say what is added or rewritten on the way.
    """

    name: str
    compose_hash: str | None
    summary: str
    changes: tuple[str, ...] = ()


def oddities(raw: bytes) -> tuple[str, ...]:
    """What an editor or a download may have added to the bytes, each of which changes the hash."""
    found: list[str] = []
    if raw.startswith(_BOM):
        without = hashlib.sha256(raw.removeprefix(_BOM)).hexdigest()
        found.append(f"starts with a byte order mark; without it the sha256 is {without}")
    stripped = raw.rstrip(b"\r\n")
    if stripped != raw:
        count = raw[len(stripped) :].count(b"\n") or 1
        what = "a new line" if count == 1 else f"{count} new lines"
        without = hashlib.sha256(stripped).hexdigest()
        found.append(f"ends with {what}; without the sha256 is {without}")
    if b"\r\n" in stripped:
        unix = hashlib.sha256(raw.replace(b"\r\n", b"\n")).hexdigest()
        found.append(f"has CRLF line ends; with LF the sha256 is {unix}")
    return tuple(found)


def deploy_paths(raw: bytes) -> tuple[DeployPath, ...]:
    """The known paths of an app-compose manifest. Raises EvidenceError when it is none."""
    app = parse_app_compose(raw)
    as_it_is = hashlib.sha256(raw).hexdigest()
    return (
        DeployPath(
            name="self-hosted, vmm-cli.py deploy",
            compose_hash=as_it_is,
            summary="the file's bytes reach the guest as they are",
        ),
        DeployPath(
            name="self-hosted, vmm-cli.py compose",
            compose_hash=None,
            summary="makes another manifest, of a docker-compose file and options",
            changes=(
                "indented by 4, without a new line at its end",
                'always has key_provider_id ("" when none is given), never features or storage_fs',
                "allowed_envs: the names in the file of variables, in its order",
            ),
        ),
        _rewritten(app),
        _phala(app, raw),
    )


def canonical(document: dict[str, JsonValue]) -> bytes:
    """The form in which Phala Cloud stores manifests: sorted keys, no white space, UTF-8.

    Raises EvidenceError for text that UTF-8 cannot carry.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EvidenceError("app-compose: text that UTF-8 cannot carry") from error


def _rewritten(app: AppCompose) -> DeployPath:
    """vmm-cli.py reads the manifest of a running VM and writes it again with indent 4."""
    text = json.dumps(app.document, indent=4, ensure_ascii=False)
    unchanged = text.encode("utf-8") == app.raw
    return DeployPath(
        name="self-hosted, vmm-cli.py update",
        compose_hash=None,
        summary="an update of compose file, script, swap or variables writes the manifest again",
        changes=(
            "the form stays (indented by 4)" if unchanged else "the form becomes indented by 4",
            "script: white space at both of its ends is dropped",
            "variables: allowed_envs becomes the names in the file, in its order",
            "APP_LAUNCH_TOKEN among them: launch_token_hash is added",
        ),
    )


def _phala(app: AppCompose, raw: bytes) -> DeployPath:
    stored = canonical(app.document)
    changes = [
        f"adds {name}: {value}" for name, value in _PHALA_FIELDS.items() if name not in app.document
    ]
    if stored != raw:
        digest = hashlib.sha256(stored).hexdigest()
        changes.insert(0, f"sorts keys and drops white space: alone, that gives {digest}")
    if "key_provider" in app.document:
        changes.append("may rewrite a manifest that has key_provider")
    return DeployPath(
        name="Phala Cloud, command line or API",
        compose_hash=None,
        summary="the server decides; its code is not public, and provisioning returns the hash"
        if changes
        else "nothing known is added to this one; the server's code is not public, and "
        "provisioning returns the hash",
        changes=tuple(changes),
    )
