"""What becomes of a manifest on its way to a guest, and what may be odd about its bytes.

Sources: Dstack-TEE/dstack vmm/src/vmm-cli.py (`compose`, `deploy`), Phala Cloud API guide
(`POST /cvms/provision`), and manifests that were measured after each path was taken.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.codec import parse_utf8
from verifier.evidence.compose.app_compose import AppCompose, parse_app_compose
from verifier.manifest.deployment import Choices, predict, write
from verifier.model.result import JsonValue
from verifier.reference.deploy_profiles import Flag, Form, find_profile

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


VMM_FLAGS: Final[dict[str, str]] = {
    value.name: field
    for field, value in find_profile("vmm").fields.items()
    if isinstance(value, Flag)
}
"""Options of `vmm-cli.py compose` that set a field to true, and false where they are not given."""
_VMM_FIELDS: Final = tuple(find_profile("vmm").fields)
_VMM_OPTIONAL: Final = find_profile("vmm").optional
"""What `vmm-cli.py compose` writes always, and what with an option of that name alone; in order."""


class DeployPath(Struct, frozen=True, kw_only=True):
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
        _composed(app),
        _rewritten(app),
        _phala(app, raw),
    )


def compose_paths(
    compose: bytes,
    name: str,
    *,
    flags: Iterable[str] = (),
    allowed: Iterable[str] = (),
    script: str | None = None,
) -> tuple[DeployPath, ...]:
    """The known paths of a compose file that has no manifest yet.

    `name`, `flags` (of `VMM_FLAGS`), `allowed` (the names in the file of variables, in its order)
    and the pre-launch script are what the author chooses. Raises EvidenceError for what is no
    UTF-8.
    """
    made = _vmm_manifest(parse_utf8(compose, "compose file"), name, flags, allowed, script)
    vmm = DeployPath(
        name="self-hosted, vmm-cli.py compose and deploy",
        compose_hash=hashlib.sha256(made).hexdigest() if name else None,
        summary="wraps the file's bytes into a manifest, indented by 4, and deploys that as it is"
        if name
        else "wraps the file's bytes into a manifest that has a name: give it with --name",
        changes=tuple(
            f"{field}: {_spelled(value)}"
            for field, value in json.loads(made).items()
            if field not in {"docker_compose_file", "name", "pre_launch_script"}
        ),
    )
    added = {"docker_compose_file": ""} | ({"name": name} if name else {})
    return vmm, _phala(parse_app_compose(json.dumps(added).encode("ascii")), None)


def _vmm_manifest(
    compose: str, name: str, flags: Iterable[str], allowed: Iterable[str], script: str | None
) -> bytes:
    """The bytes that the newest known `vmm-cli.py compose` writes."""
    choices = Choices(
        name=name,
        allowed=tuple(allowed),
        script=script or None,
        flags=dict.fromkeys(flags, True),
    )
    made = predict(find_profile("vmm"), compose, choices).raw
    if made is None:
        raise EvidenceError("vmm-cli.py compose: what it writes is not known")
    return made


def _composed(app: AppCompose) -> DeployPath:
    """`vmm-cli.py compose`, given the values that this manifest has."""
    document = app.document
    options = [field for field in _VMM_OPTIONAL if field in document]
    lost = sorted(document.keys() - {*_VMM_FIELDS, *_VMM_OPTIONAL})
    absent = [field for field in _VMM_FIELDS if field not in document]
    made = None
    if not absent and document["manifest_version"] == 2 and document["runner"] == "docker-compose":  # noqa: PLR2004
        made = _indented({field: document[field] for field in (*_VMM_FIELDS, *options)})
    changes = (
        "indented by 4, without a new line at its end",
        'always has key_provider_id ("" when none is given), never features or storage_fs',
        "allowed_envs: the names in the file of variables, in its order",
    )
    lost_words = (f"has no option for {', '.join(lost)}",) if lost else ()
    absent_words = (f"always writes {', '.join(absent)}",) if absent else ()
    return DeployPath(
        name="self-hosted, vmm-cli.py compose",
        compose_hash=None if made is None else hashlib.sha256(made).hexdigest(),
        summary="this file is what it writes"
        if made == app.raw
        else "makes another manifest, of a docker-compose file and options"
        if made is None
        else "given the same values as options, it makes another manifest",
        changes=() if made == app.raw else (*changes, *lost_words, *absent_words),
    )


def _indented(document: dict[str, JsonValue]) -> bytes:
    """As vmm-cli.py writes JSON. Raises EvidenceError for text that UTF-8 cannot carry."""
    return write(document, Form.INDENTED)


def _spelled(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)


def canonical(document: dict[str, JsonValue]) -> bytes:
    """The form in which Phala Cloud stores manifests: sorted keys, no white space, UTF-8.

    Raises EvidenceError for text that UTF-8 cannot carry.
    """
    return write(document, Form.CANONICAL)


def _rewritten(app: AppCompose) -> DeployPath:
    """vmm-cli.py reads the manifest of a running VM and writes it again with indent 4."""
    unchanged = _indented(app.document) == app.raw
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


def _phala(app: AppCompose, raw: bytes | None) -> DeployPath:
    """Phala Cloud's server; `raw` None is a manifest that its client makes of a compose file."""
    stored = canonical(app.document)
    changes = [
        f"adds {name}: {value}" for name, value in _PHALA_FIELDS.items() if name not in app.document
    ]
    if raw is not None and stored != raw:
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
