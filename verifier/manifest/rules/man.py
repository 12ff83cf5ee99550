"""MAN: whether the text that is judged is the text that counts."""

import difflib
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.compose.app_compose import (
    COMPOSE_RUNNERS,
    FLAGS,
    KNOWN_FIELDS,
    LEGACY_FIELDS,
    DuplicateFieldError,
)
from verifier.evidence.compose.compose_yaml import DuplicateKeyError, RefusedError
from verifier.manifest.compose.problem import Kind, Problem
from verifier.manifest.model import COMPOSE_POINTER, Manifest, Text
from verifier.manifest.rule import Hit, Need, listed, on_field, on_service, on_text, rule
from verifier.manifest.rules.pls import custom_scripts
from verifier.manifest.rules.shell import excerpt
from verifier.model.result import Location, Severity
from verifier.patterns import pattern

_TYPES: Final = "dstack dstack-types/src/lib.rs"
_REPLACES: Final = pattern(
    r">\s*\S{0,80}(?:docker-compose\.ya?ml|app-compose\.json)|\bdocker(?:\s+|-)compose\b"
    r"|\bdocker\s+(?:run|stack|swarm)\b",
    re.MULTILINE,
)
_LEAVES: Final = pattern(r"^exit\s+0\b", re.MULTILINE)
_REMOTE: Final = pattern(r"^[\w+.-]+://|^git@|^oci:")
_MOUNTS: Final = frozenset({"bind", "volume", "tmpfs", "image"})
_REFUSED: Final = (RefusedError, DuplicateFieldError)
"""Errors that other rules report."""
_TYPO: Final = 0.8
_MAX_COMPARED: Final = 100
_MAX_NAME: Final = 60
_NEWEST: Final = 3
_DIGITS: Final = 9


@rule(
    "MAN-001",
    Severity.CRITICAL,
    "The manifest is not the one that was measured",
    why="Every other rule would judge a text that nobody attested.",
    fix="Fetch the bytes of tcb_info.app_compose again.",
    source="dstack docs (compose-hash event); public report #550",
    needs=(Need.COMPOSE_HASH,),
)
def another_manifest(manifest: Manifest) -> Iterator[Hit]:
    """The sha256 of the raw bytes differs from the measured compose hash. A text that would match
    without its last new line was altered in transit, and fails too."""
    if manifest.app is None:
        return
    expected = manifest.context.compose_hash.lower().removeprefix("sha256:").removeprefix("0x")
    raw = manifest.app.raw
    if hashlib.sha256(raw).hexdigest() == expected:
        return
    stripped = hashlib.sha256(raw.removesuffix(b"\n")).hexdigest() == expected
    how = ": a new line was added at its end" if stripped else ""
    place = Location(pointer="")
    yield Hit(message=f"it is not {expected[:16]}…{how}", place=place)


@rule(
    "MAN-002",
    Severity.HIGH,
    "The manifest is not public",
    why="Nobody else can audit it; all that can be seen is whether its hash changes.",
    fix="public_tcbinfo: true, the default, and publish the JSON.",
    source="dstack docs/security/cvm-boundaries.md, guest-agent/src/http_routes.rs",
    needs=(Need.MANIFEST,),
)
def hidden_manifest(manifest: Manifest) -> Iterator[Hit]:
    """public_tcbinfo is false, or docker_compose_file is masked."""
    if manifest.app is None:
        return
    if not manifest.app.flags["public_tcbinfo"]:
        yield on_field(manifest, "public_tcbinfo", "the guest does not show the manifest")
    if manifest.app.compose == "[MASKED]":
        yield on_field(manifest, "docker_compose_file", "its text is masked")


@rule(
    "MAN-003",
    Severity.HIGH,
    "A key is there twice",
    why="`jq` takes the last one, a reviewer may read the first, Compose refuses: they see "
    "different manifests.",
    fix="Keep one of them.",
    source="RFC 8259 4; dstack os/common/rootfs/app-compose.sh (jq)",
    needs=(),
)
def duplicate_key(manifest: Manifest) -> Iterator[Hit]:
    """A duplicate key in the JSON or, at any level, in the compose file. Merge keys (`<<`) are
    noted as info: the merged result is judged."""
    error = manifest.error
    if isinstance(error, DuplicateFieldError):
        yield Hit(message=error.message, place=Location(pointer=""))
    elif isinstance(error, DuplicateKeyError):
        for item in error.duplicates:
            place = Location(pointer=COMPOSE_POINTER, line=item.line, column=item.column)
            yield Hit(message=f"{item.key!a} is there twice", place=place)
    for service in manifest.services:
        if service.tree.merged:
            names = listed(sorted(service.tree.merged))
            yield on_service(service, f"{names} come from a merge", Severity.INFO)


@rule(
    "MAN-004",
    Severity.LOW,
    "Unknown field",
    why="Hashed and ignored: it misleads readers, or is a misspelt setting.",
    fix="Remove or rename it.",
    source=_TYPES,
    needs=(Need.MANIFEST,),
)
def unknown_field(manifest: Manifest) -> Iterator[Hit]:
    """A top-level field that no guest reads. Close to a known name it is medium, `x-` and fields of
    earlier releases are info."""
    for place, name in enumerate(manifest.document):
        if name in KNOWN_FIELDS:
            continue
        near = []
        if len(name) <= _MAX_NAME and place < _MAX_COMPARED:
            near = difflib.get_close_matches(name.strip(), sorted(KNOWN_FIELDS), n=1, cutoff=_TYPO)
        if name in LEGACY_FIELDS or name.startswith("x-"):
            yield on_field(manifest, name, "no guest of today reads it", Severity.INFO)
        elif near:
            yield on_field(manifest, name, f"probably meant {near[0]}", Severity.MEDIUM)
        else:
            yield on_field(manifest, name, f"{name!a} is read by nobody")


@rule(
    "MAN-005",
    Severity.HIGH,
    "The compose file shown is not what runs",
    why="The other rules then judge dead text.",
    fix="Put the workload into docker_compose_file; no early exit.",
    source="dstack os/common/rootfs/app-compose.sh",
    needs=(Need.MANIFEST,),
)
def dead_compose(manifest: Manifest) -> Iterator[Hit]:
    """The runner is bash, or unknown; a script writes the compose file, runs Docker itself or
    leaves with `exit 0`; docker_compose_file is missing or empty."""
    app = manifest.app
    if app is None:
        return
    if app.runner not in COMPOSE_RUNNERS:
        yield on_field(manifest, "runner", f"the runner {app.runner!a} ignores it")
    elif not (app.compose or "").strip():
        yield on_field(manifest, "docker_compose_file", "there is none")
    for pointer, script in custom_scripts(manifest):
        match = _REPLACES.search(script) or _LEAVES.search(script)
        match = match or _REPLACES.search(manifest.followed(pointer).text)
        if match:
            message = f"a script does `{excerpt(match[0])}`"
            yield Hit(message=message, place=Location(pointer=pointer))


@rule(
    "MAN-006",
    Severity.MEDIUM,
    "Field needs another manifest_version",
    why="Old guests ignore it silently, new ones refuse: the gate may not be there.",
    fix='"manifest_version": "3", and a check of the OS version.',
    source="dstack dstack-util/src/system_setup.rs",
    needs=(Need.MANIFEST,),
)
def wrong_version(manifest: Manifest) -> Iterator[Hit]:
    """requirements, the nerdctl-compose runner or several init scripts with a manifest_version
    below "3"; a version above 3."""
    if manifest.app is None:
        return
    version = manifest.app.version
    digits = version.lstrip("0") if version.isascii() and version.isdigit() else ""
    number = int(digits[:_DIGITS] or "0")  # as many as tell whether it is above
    is_text = isinstance(manifest.document.get("manifest_version"), str)
    init = manifest.document.get("init_script")
    uses = {
        "requirements": "requirements" in manifest.document,
        "runner": manifest.app.runner == "nerdctl-compose",
        "init_script": isinstance(init, list) and len(init) > 1,
    }
    for name, used in uses.items():
        if used and not (is_text and number >= _NEWEST):
            yield on_field(manifest, name, f"manifest_version is {version or 'absent'}")
    if number > _NEWEST:
        yield on_field(manifest, "manifest_version", f"{version} is not known")


@rule(
    "MAN-007",
    Severity.MEDIUM,
    "Compose file refers to what is not measured",
    why="Whoever writes the other file, operator or host, decides what it says.",
    fix="Write everything into the one file (`configs.…content`).",
    source="docs.docker.com compose file reference",
)
def hidden_content(manifest: Manifest) -> Iterator[Hit]:
    """It refers to other files, in any syntax: include, extends.file, env_file, label_file, files
    of secrets and configs, a Dockerfile, a remote build context."""
    for text in (*manifest.includes, *_outside_files(manifest)):
        yield on_text(text, f"refers to `{text.unset or text.text}`")


def _outside_files(manifest: Manifest) -> Iterator[Text]:
    for service in manifest.services:
        yield from filter(None, (service.text("extends", "file"),))
        yield from service.env_files
        yield from service.texts("label_file")
        yield from filter(None, (service.text("build", "dockerfile"),))
        for context in service.build_contexts:
            if _REMOTE.search(context.unset) and not context.unset.startswith("docker-image:"):
                yield context
    for source in manifest.shared.files.values():
        if source.file is not None:
            yield source.file


@rule(
    "MAN-008",
    Severity.INFO,
    "What the manifest sets",
    why="Context for every other finding.",
    fix="None.",
    source=_TYPES,
    needs=(Need.MANIFEST,),
)
def inventory(manifest: Manifest) -> Iterator[Hit]:
    """Runner, flags and key provider, defaults said as such. Always there, never scored."""
    app = manifest.app
    if app is None:
        return
    flags = ", ".join(
        f"{name}={str(app.flags[name]).lower()}{'' if name in app.document else ' (default)'}"
        for name in FLAGS
        if name != "tproxy_enabled" or name in app.document
    )
    provider = f"key provider {app.provider} ({'pinned' if app.key_provider_id else 'not pinned'})"
    yield on_field(manifest, "name", f"runner {app.runner or 'absent'}, {provider}, {flags}")


@rule(
    "MAN-009",
    Severity.LOW,
    "Key-provider fields contradict each other",
    why="Which one counts depends on the OS's version.",
    fix="Set one.",
    source=f"{_TYPES}, docs/security/cvm-boundaries.md",
    needs=(Need.MANIFEST,),
)
def contradictory_provider(manifest: Manifest) -> Iterator[Hit]:
    """kms_enabled and local_key_provider_enabled are both true, key_provider says otherwise, or an
    id is pinned for none or tpm."""
    app = manifest.app
    if app is None:
        return
    kms, local = app.flags["kms_enabled"], app.flags["local_key_provider_enabled"]
    by_flags = "kms" if kms else "local" if local else "none"
    if kms and local:
        yield on_field(manifest, "local_key_provider_enabled", "both providers are enabled")
    explicit = "kms_enabled" in app.document or "local_key_provider_enabled" in app.document
    if app.key_provider and explicit and app.key_provider not in {by_flags, "tpm"}:
        message = f"key_provider is {app.key_provider}, the flags say {by_flags}"
        yield on_field(manifest, "key_provider", message)
    if app.key_provider_id and app.provider in {"none", "tpm"}:
        yield on_field(manifest, "key_provider_id", f"the provider is {app.provider}")


@rule(
    "MAN-010",
    Severity.MEDIUM,
    "Part of the compose file is not judged",
    why="Nobody here knows what it gives a container. An unknown attribute is one that Compose "
    "refuses, or newer than what is known of it.",
    fix="Remove it, or correct its name.",
    source="compose-go schema/compose-spec.json",
    needs=(),
)
def unjudged_attribute(manifest: Manifest) -> Iterator[Hit]:
    """An attribute of the compose file, at any level, that no known release of Docker Compose has;
    a volume whose driver is a plugin; a mount of a type for Swarm or Windows; what is too large or
    too deep to be followed; an inline Dockerfile that no builder reads; a file that is hidden,
    absent or not what runs."""
    if manifest.error is not None and not isinstance(manifest.error, _REFUSED):
        yield Hit(message=manifest.error.message, place=Location(pointer=COMPOSE_POINTER))
    for problem in manifest.problems:
        if problem.kind in {Kind.UNKNOWN, Kind.UNFOLLOWED}:
            yield _at(problem)
    for service, build in manifest.inline_builds:
        if isinstance(build, EvidenceError) and service.dockerfile is not None:
            message = f"no builder reads its inline Dockerfile: {build.message}"
            yield on_text(service.dockerfile, message)
    yield from _unjudged_mounts(manifest)


def _unjudged_mounts(manifest: Manifest) -> Iterator[Hit]:
    for service in manifest.services:
        for mount in service.mounts:
            driver = manifest.shared.volume_driver(mount.source)
            if mount.kind not in _MOUNTS:
                yield on_text(mount.text, f"a mount of type `{mount.kind}`")
            elif not mount.bind and driver:
                yield on_text(mount.text, f"what the volume driver `{driver}` does is not known")


@rule(
    "MAN-011",
    Severity.MEDIUM,
    "Docker Compose refuses the file",
    why="No container starts from it: this is not what runs, or nothing does.",
    fix="Correct it: `docker compose config` says what is wrong.",
    source="compose-go loader, schema and validation (v2.9.1)",
    needs=(),
)
def refused_file(manifest: Manifest) -> Iterator[Hit]:
    """It is no YAML that Compose reads, has no services, forms that Compose does not take, names of
    services, networks, volumes or files that are not there, or the same twice. What only holds
    while the operator does not set a variable is not counted."""
    if manifest.tree is None:
        if isinstance(manifest.error, RefusedError):
            yield Hit(message=manifest.error.message, place=Location(pointer=COMPOSE_POINTER))
        return
    if not manifest.services:
        yield Hit(message="it has no services", place=Location(pointer=COMPOSE_POINTER))
    for problem in manifest.problems:
        others = (set(manifest.allowed or problem.names) | manifest.provided) & {*problem.names}
        if problem.kind is Kind.REFUSED and not others:
            yield _at(problem)
    for text in manifest.texts:
        if text.template is not None and text.template.invalid:
            yield on_text(text, text.template.invalid)


@rule(
    "MAN-012",
    Severity.LOW,
    "Releases of Docker Compose read the file differently",
    why="What is judged is one reading of it; a guest with another release refuses the file, or "
    "takes part of it.",
    fix="Use one document, and attributes that every dstack release knows.",
    source="compose-go schema/compose-spec.json and loader; meta-virtualization of dstack releases",
)
def other_reading(manifest: Manifest) -> Iterator[Hit]:
    """An attribute that is newer than the Compose of the guest's OS, or, where no source tells
    which one that is, newer than the oldest that a dstack release ships; several documents, which
    are merged in order."""
    for problem in manifest.problems:
        if problem.kind is Kind.NEWER:
            yield _at(problem)
    if manifest.project is not None and manifest.project.documents > 1:
        message = f"{manifest.project.documents} documents: what is judged is all of them, merged"
        yield Hit(message=message, place=Location(pointer=COMPOSE_POINTER))


def _at(problem: Problem) -> Hit:
    text = Text(problem.message, problem.path, problem.line, problem.column)
    where = ".".join(problem.path)
    return Hit(message=f"{where}: {problem.message}", place=text.place, service=problem.service)


RULES: Final = (
    *(another_manifest, hidden_manifest, duplicate_key, unknown_field, dead_compose),
    *(wrong_version, hidden_content, inventory, contradictory_provider, unjudged_attribute),
    *(refused_file, other_reading),
)
