"""KMS: who gives the app its keys, and who decides that it gets them."""

import re
from collections.abc import Iterator
from typing import Final

from verifier.manifest.hits import listed, on_field, on_service, on_text
from verifier.manifest.image import image_of
from verifier.manifest.model import Manifest, Text
from verifier.manifest.rule import Hit, Need, Place, Severity, rule
from verifier.reference.values import KmsRecord, embedded

_CVM: Final = "dstack docs/security/cvm-boundaries.md"
_CONTRACT: Final = "Dstack-TEE/dstack kms/auth-eth/contracts"
_KMS_CONFIG: Final = re.compile(r"^\[core\.auth_api\]", re.MULTILINE)
_KMS_NODE: Final = re.compile(r"(?:^|[-_/])(?:kms|mpc)(?:$|[-_/])|mpc-launcher|dstack-kms")
_EMPTY_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_SETTINGS: Final = (
    (re.compile(r'^type\s*=\s*"dev"', re.MULTILINE), "authorizes everything (`dev`)"),
    (re.compile(r"^quote_enabled\s*=\s*false", re.MULTILINE), "onboards without a quote"),
    (
        re.compile(r"^insecure_no_auth\s*=\s*true", re.MULTILINE),
        "administration without a password",
    ),
    (
        re.compile(r"^enforce_self_authorization\s*=\s*false", re.MULTILINE),
        "does not ask whether it is authorized itself",
    ),
    (re.compile(r'^auto_bootstrap_domain\s*=\s*"[^"]+"', re.MULTILINE), "bootstraps by itself"),
    (
        re.compile(r"^\[core\.image\][ \t]*\n(?:[^\[\n]*\n)*?verify\s*=\s*false", re.MULTILINE),
        "does not verify OS images",
    ),
)
_NETWORKS: Final = {1: "eth", 8453: "base"}
"""What Phala's gateways call the chain of their KMS."""
_HOSTED: Final = frozenset({"hosted"})
_RELEASE: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}", re.ASCII)
_WEBHOOK: Final = re.compile(r'^url\s*=\s*"(https?://[^"]+)"', re.MULTILINE)
_LOCAL_HOST: Final = re.compile(r"https?://(?:localhost|127\.|[^./]+(?::\d+)?(?:/|$))")


def _record(manifest: Manifest) -> KmsRecord | None:
    """The KMS of the measured key provider: as handed in, else by its CA key."""
    context = manifest.context
    wanted = context.key_provider_id.lower()
    known = (row for row in embedded().kms if wanted and row.ca_spki == wanted)
    return context.kms or next(known, None)


def _at_top(message: str, severity: Severity | None = None, *, conditional: bool = False) -> Hit:
    """A hit about the deployment, for which no line of the manifest stands."""
    return Hit(message=message, place=Place(pointer=""), severity=severity, conditional=conditional)


@rule(
    "KMS-001",
    Severity.HIGH,
    "Hosted KMS without a public upgrade log",
    why="Which versions were ever allowed is not visible; an account at the vendor decides.",
    fix="Deploy again with an on-chain KMS.",
    source="Phala Cloud documentation; dstack stage-1 checklist, item 1",
    needs=(Need.KEY_PROVIDER,),
)
def hosted_kms(manifest: Manifest) -> Iterator[Hit]:
    """The measured key provider is a KMS that has no contract."""
    record = _record(manifest)
    if manifest.context.key_provider == "kms" and record is not None and record.contract is None:
        yield on_field(manifest, "kms_enabled", f"the KMS is {record.name}")


@rule(
    "KMS-002",
    Severity.MEDIUM,
    "Key provider is not pinned",
    why="At the next boot another KMS could serve the app: with other keys, but the same code.",
    fix="Set key_provider_id to the KMS's CA key.",
    source=_CVM,
    needs=(Need.MANIFEST,),
)
def unpinned_provider(manifest: Manifest) -> Iterator[Hit]:
    """A KMS or local provider without key_provider_id. Info where the measured id is known, high
    where it is measured and unknown."""
    app = manifest.app
    if app is None or app.provider not in {"kms", "local"} or app.key_provider_id:
        return
    severity = None
    if manifest.context.key_provider_id:
        severity = Severity.INFO if _record(manifest) else Severity.HIGH
    field = "key_provider_id" if "key_provider_id" in app.document else "kms_enabled"
    yield on_field(manifest, field, f"any {app.provider} provider may serve it", severity)


@rule(
    "KMS-003",
    Severity.MEDIUM,
    "No key provider",
    why="Keys are random at each boot, getKey is not stable, encrypted variables do not work.",
    fix="Use a KMS, if the app keeps anything.",
    source=_CVM,
    needs=(Need.MANIFEST,),
)
def no_provider(manifest: Manifest) -> Iterator[Hit]:
    """Neither KMS nor local provider."""
    if manifest.app is not None and manifest.app.provider == "none":
        yield on_field(manifest, "kms_enabled", "no provider is enabled")


@rule(
    "KMS-004",
    Severity.MEDIUM,
    "Keys are sealed to one machine",
    why="No public list says which code may have them; the same enclave seals again.",
    fix="Use an on-chain KMS, unless the app is a KMS or MPC node itself.",
    source=_CVM,
    needs=(Need.MANIFEST,),
)
def local_provider(manifest: Manifest) -> Iterator[Hit]:
    """The local (SGX) key provider. Info for a KMS or MPC node, which needs it."""
    if manifest.app is None or manifest.app.provider != "local":
        return
    names = [service.name for service in manifest.services]
    names += [image_of(manifest, service).repository for service in manifest.services]
    is_node = any(_KMS_NODE.search(name) for name in names)
    severity = Severity.INFO if is_node else None
    yield on_field(manifest, "local_key_provider_enabled", "SGX seals the keys", severity)


@rule(
    "KMS-005",
    Severity.HIGH,
    "Compose hash is not authorized on chain",
    why="The running instance is not, or no longer, allowed.",
    fix="Find out which version is allowed, and since when.",
    source=_CONTRACT,
    needs=(Need.AUTHORIZATION,),
)
def unauthorized_hash(manifest: Manifest) -> Iterator[Hit]:
    """The app's contract does not allow the measured compose hash: it never did, or no longer does.
    The check authorization.allowed judges the whole boot."""
    if manifest.context.chain.hash_allowed is False:
        yield _at_top(f"the contract does not allow {manifest.context.compose_hash}")


@rule(
    "KMS-006",
    Severity.HIGH,
    "Other compose hashes are still authorized",
    why="The operator can boot an older, worse version with the same keys.",
    fix="Call removeComposeHash for each.",
    source=_CONTRACT,
    needs=(Need.ALLOWED_HASHES,),
)
def stale_hashes(manifest: Manifest) -> Iterator[Hit]:
    """Besides the measured compose hash, the app's contract still allows others."""
    others = manifest.context.chain.other_hashes or ()
    if others:
        what = "another compose hash is" if len(others) == 1 else f"{len(others)} others are"
        yield _at_top(f"{what} still allowed: {listed(others)}")


@rule(
    "KMS-007",
    Severity.HIGH,
    "Upgrades come without notice",
    why="One key, at once, unseen by users.",
    fix="A timelock behind several signers; disableUpgrades.",
    source=_CONTRACT,
    needs=(Need.GOVERNANCE,),
)
def no_notice(manifest: Manifest) -> Iterator[Hit]:
    """One key suffices to change what the contract of app or KMS allows, or a change takes effect
    without notice. Where that is not known, or only an owner contract of unknown code says
    otherwise, it may be so."""
    for governor in manifest.context.chain.governors or ():
        if governor.frozen:
            continue
        faults = [
            said
            for said, so in (
                ("one key suffices", governor.keys == 1),
                ("no change is announced", governor.notice == 0),
            )
            if so
        ]
        if faults:
            yield _at_top(f"{governor.contract}: {' and '.join(faults)}: owned by {governor.who}")
        elif governor.own_word or None in (governor.keys, governor.notice):
            what = "only its owner states" if governor.own_word else "nobody knows"
            yield _at_top(
                f"{governor.contract}: one key may suffice, without notice: {what} how many keys "
                f"and which notice it takes: owned by {governor.who}",
                conditional=True,
            )


@rule(
    "KMS-008",
    Severity.MEDIUM,
    "Any device or outdated TCB is allowed",
    why="Also a machine that its holder attacks physically.",
    fix="List devices; require an up-to-date TCB.",
    source=_CONTRACT,
    needs=(Need.DEVICES,),
)
def any_device(manifest: Manifest) -> Iterator[Hit]:
    """AllowAnyDevice is true, or requireTcbUpToDate is false. Low for a contract generation that
    cannot require it, where devices are listed."""
    chain = manifest.context.chain
    if chain.any_device:
        yield _at_top("any machine may run it")
    if not chain.can_require_tcb:
        message = "this contract generation cannot require an up-to-date TCB"
        yield _at_top(message, Severity.LOW)
    elif chain.tcb_required is False:
        yield _at_top("a machine with an outdated TCB may run it")


@rule(
    "KMS-009",
    Severity.HIGH,
    "This KMS's own manifest is weak",
    why="The root keys of every app follow its code and its configuration.",
    fix="Images by digest, authorization by contract, no development settings.",
    source="dstack kms documentation; public reports #607 to #609",
)
def weak_kms(manifest: Manifest) -> Iterator[Hit]:
    """The manifest is a KMS's, and: its image can be replaced, its authorization is a development
    stub or a web service outside of the guest, it onboards without quotes, does not verify images,
    or its administration is open. An RPC node of one operator is medium."""
    configs = [c for c in manifest.config_contents.values() if _KMS_CONFIG.search(c.text)]
    if not configs:
        return
    for service in manifest.services:
        image = image_of(manifest, service)
        if image.replaceable and service.image is not None:
            yield on_text(service.image, f"`{image.reference}` holds root keys and can be replaced")
        rpc = service.environment.get("ETH_RPC_URL")
        if rpc and rpc.literal and not _LOCAL_HOST.match(rpc.literal):
            yield on_text(rpc.text, f"{rpc.literal} alone says what is allowed", Severity.MEDIUM)
    for config in configs:
        yield from _weak_settings(config)


def _weak_settings(config: Text) -> Iterator[Hit]:
    for pattern, said in _SETTINGS:
        match = pattern.search(config.text)
        if match:
            yield on_text(config, said, offset=match.start())
    for url in _WEBHOOK.finditer(config.text):
        if not _LOCAL_HOST.match(url[1]):
            yield on_text(config, f"{url[1]} decides what is allowed", offset=url.start())
    empty = config.text.find(f'admin_token_hash = "{_EMPTY_SHA256}"')
    if empty >= 0:
        message = "an empty token opens ClearImageCache"
        yield on_text(config, message, Severity.MEDIUM, offset=empty)


@rule(
    "KMS-010",
    Severity.LOW,
    "Evidence about the KMS disagrees",
    why="Trust is attributed to the wrong party.",
    fix="Believe the measured id.",
    source=_CVM,
    needs=(Need.KEY_PROVIDER, Need.KMS_CLAIMS),
)
def conflicting_evidence(manifest: Manifest) -> Iterator[Hit]:
    """The name of the gateway, or the KMS's own answer, means another KMS than the measured id."""
    record = _record(manifest)
    if record is None:
        return
    network = _NETWORKS.get(record.chain_id or 0, "")
    own = {network, f"{record.chain_id}:{record.contract}".lower()} if record.contract else _HOSTED
    for who, claim in (manifest.context.kms_claims or {}).items():
        if claim.lower() not in own:
            yield _at_top(f"{who} means {_article(claim)}, and the measured id is {record.name}'s")


def _article(claim: str) -> str:
    return {"hosted": "a hosted KMS"}.get(claim, f"the KMS {claim}" if ":" in claim else claim)


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
        yield _at_top("the OS is a development image")


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
        yield _at_top("no known image gives these registers")


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
        yield _at_top(f"the OS is {manifest.context.os_version}")


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
        yield _at_top(f"the guest is {context.os_version}, and its KMS is older than 0.5.6")


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
            yield Hit(message="the script reads the host's files", place=Place(pointer=pointer))
    for service in manifest.services:
        for mount in service.mounts:
            if re.search(r"user[_-]config|sys-config", mount.source):
                yield on_text(mount.text, f"`{mount.source}` is the host's")


@rule(
    "RUN-001",
    Severity.HIGH,
    "A container runs that the manifest does not declare",
    why="Something with the Docker socket started more code.",
    fix="Remove the launcher.",
    source="dstack guest-agent/src/http_routes.rs",
    needs=(Need.PAGE, Need.COMPOSE),
)
def undeclared_container(manifest: Manifest) -> Iterator[Hit]:
    """The page names a container that is no service of the compose file."""
    declared = set(_declared(manifest))
    for name in manifest.context.containers or {}:
        stem = re.sub(r"-\d+$", "", name.strip("/"))
        if name.strip("/") not in declared and stem not in declared:
            yield _at_top(f"{name!a} is not in the manifest")


def _declared(manifest: Manifest) -> Iterator[str]:
    for service in manifest.services:
        named = service.text("container_name")
        if named:
            yield named.unset
        yield from (f"{project}-{service.name}" for project in ("dstack", "tapp"))


@rule(
    "RUN-002",
    Severity.MEDIUM,
    "A declared service does not run",
    why="A guard that was reviewed may be absent.",
    fix="Deploy again.",
    source="dstack guest-agent/src/http_routes.rs",
    needs=(Need.PAGE, Need.COMPOSE),
)
def missing_service(manifest: Manifest) -> Iterator[Hit]:
    """A service is not on the page, restarts again and again, or ended with an error."""
    states = {n.strip("/"): state for n, state in (manifest.context.containers or {}).items()}
    stems = {re.sub(r"-\d+$", "", name): state for name, state in states.items()} | states
    for service in manifest.services:
        named = service.text("container_name")
        names = [
            *([named.unset] if named else []),
            f"dstack-{service.name}",
            f"tapp-{service.name}",
        ]
        state = next((stems[name] for name in names if name in stems), None)
        failed = state is not None and re.search(r"Restarting|Exited \((?!0\))", state)
        if state is None or failed:
            yield on_service(service, f"{service.name} is {state or 'not there'}")


@rule(
    "RUN-003",
    Severity.MEDIUM,
    "The app says that it is another version",
    why="A stale or foreign process answers.",
    fix="Find out which one answers.",
    source="case study of hermes",
    needs=(Need.ENDPOINT,),
)
def another_version(_: Manifest) -> Iterator[Hit]:
    """The version, commit or digest that the app reports differs from the manifest's literal."""
    return iter(())


@rule(
    "RUN-004",
    Severity.LOW,
    "A tag has moved",
    why="It shows that the code behind the manifest changes.",
    fix="Name the image by digest.",
    source="OCI distribution specification",
    needs=(Need.COMPOSE, Need.TAGS),
)
def moved_tag(_: Manifest) -> Iterator[Hit]:
    """The registry's digest of a tag differs from the first one that was seen. A digest cannot
    move: without images that only a tag names there is nothing to watch."""
    return iter(())


RULES: Final = (
    *(hosted_kms, unpinned_provider, no_provider, local_provider, unauthorized_hash),
    *(stale_hashes, no_notice, any_device, weak_kms, conflicting_evidence, development_os),
    *(unknown_os, old_os, version_skew, host_values, undeclared_container, missing_service),
    *(another_version, moved_tag),
)
