"""KMS: who gives the app its keys, and who decides that it gets them."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from verifier.manifest.image import image_of
from verifier.manifest.model import Manifest, Text
from verifier.manifest.rule import Hit, Need, at_top, listed, on_field, on_text, rule
from verifier.model.result import Severity
from verifier.patterns import pattern

_CVM: Final = "dstack docs/security/cvm-boundaries.md"
_CONTRACT: Final = "Dstack-TEE/dstack kms/auth-eth/contracts"
_KMS_CONFIG: Final = pattern(r"^\[core\.auth_api\]", re.MULTILINE)
_KMS_NODE: Final = pattern(r"(?:^|[-_/])(?:kms|mpc)(?:$|[-_/])|mpc-launcher|dstack-kms")
_EMPTY_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_OPEN: Final = (
    (pattern(r'^type\s*=\s*"dev"', re.MULTILINE), "authorizes everything (`dev`)"),
    (pattern(r"^quote_enabled\s*=\s*false", re.MULTILINE), "onboards without a quote"),
    (
        pattern(
            r"^\[core\.image\][ \t]*\n(?:[^\[\n][^\n]*\n|\n)*?verify\s*=\s*false", re.MULTILINE
        ),
        "does not verify OS images",
    ),
)
"""Settings that give the keys to anybody who asks for them."""
_SETTINGS: Final = (
    (
        pattern(r"^insecure_no_auth\s*=\s*true", re.MULTILINE),
        "administration without a password",
    ),
    (
        pattern(r"^enforce_self_authorization\s*=\s*false", re.MULTILINE),
        "does not ask whether it is authorized itself",
    ),
    (pattern(r'^auto_bootstrap_domain\s*=\s*"[^"]+"', re.MULTILINE), "bootstraps by itself"),
)
_NETWORKS: Final = {1: "eth", 8453: "base"}
"""What Phala's gateways call the chain of their KMS."""
_HOSTED: Final = frozenset({"hosted"})
_WEBHOOK: Final = pattern(r'^url\s*=\s*"(https?://[^"]+)"', re.MULTILINE)
_LOCAL_HOST: Final = pattern(
    r"https?://(?:127(?:\.\d{1,3}){3}|[A-Za-z][A-Za-z0-9_-]*)(?::\d+)?(?:/|$)", re.ASCII
)
"""A URL of another service, whose name has no dot; an address may have none either."""
_BARE_KEY: Final = pattern(r"[A-Za-z0-9_-]+", re.ASCII)
_MAX_DEPTH: Final = 16
"""How deep tables are read: no setting of a KMS stands below the third."""


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
    record = manifest.context.kms
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
        severity = Severity.INFO if manifest.context.kms else Severity.HIGH
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
        yield at_top(f"the contract does not allow {manifest.context.compose_hash}")


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
        yield at_top(f"{what} still allowed: {listed(others)}")


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
    for governor in manifest.context.chain.governors:
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
            yield at_top(f"{governor.contract}: {' and '.join(faults)}: owned by {governor.who}")
        elif governor.own_word or None in (governor.keys, governor.notice):
            what = "only its owner states" if governor.own_word else "nobody knows"
            yield at_top(
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
        yield at_top("any machine may run it")
    if not chain.can_require_tcb:
        message = "this contract generation cannot require an up-to-date TCB"
        yield at_top(message, Severity.LOW)
    elif chain.tcb_required is False:
        yield at_top("a machine with an outdated TCB may run it")


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
    or its administration is open. Settings by which anybody gets the keys who asks for them are
    critical. An RPC node of one operator is medium."""
    configs = kms_configs(manifest)
    if not configs:
        return
    for service in manifest.services:
        image = image_of(manifest, service)
        if image.replaceable and service.image is not None:
            yield on_text(service.image, f"`{image.reference}` holds root keys and can be replaced")
        rpc = service.environment.get("ETH_RPC_URL")
        if rpc and rpc.literal and not _LOCAL_HOST.match(rpc.literal):
            yield on_text(rpc.text, f"{rpc.literal} alone says what is allowed", Severity.MEDIUM)
    for config, text in configs:
        yield from _weak_settings(config, text)


def kms_configs(manifest: Manifest) -> list[tuple[Text, str]]:
    """The configuration files of a KMS in its manifest, and each as `plain` spells it."""
    found = [(item, plain(item.text)) for item in manifest.config_contents.values()]
    return [(item, text) for item, text in found if _KMS_CONFIG.search(text)]


def plain(text: str) -> str:
    """A TOML document with each table under its own header, and keys and values in their usual
    spelling: there are many others, which mean the same. Text that is no TOML as it is, since no
    KMS starts with it."""
    try:
        return "".join(_lines(tomllib.loads(text), ()))
    except (ValueError, RecursionError):
        return text


def _lines(table: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    tables: list[str] = []
    yield f"[{'.'.join(path)}]\n" if path else ""
    for name, value in table.items():
        key = name if _BARE_KEY.fullmatch(name) else json.dumps(name)
        if not isinstance(value, dict):
            yield f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}\n"
        elif len(path) < _MAX_DEPTH:
            tables.extend(_lines(value, (*path, key)))
    yield from tables


def asked_for_permission(manifest: Manifest) -> tuple[str, ...]:
    """The URLs that a KMS asks whether a guest may have its keys, as its manifest says."""
    urls = (match[1] for _, text in kms_configs(manifest) for match in _WEBHOOK.finditer(text))
    return tuple(dict.fromkeys(urls))


def _weak_settings(config: Text, text: str) -> Iterator[Hit]:
    settings = [(item, Severity.CRITICAL) for item in _OPEN] + [(item, None) for item in _SETTINGS]
    for (weak, said), severity in settings:
        if weak.search(text):
            written = weak.search(config.text)
            yield on_text(config, said, severity, offset=written.start() if written else 0)
    for url in _WEBHOOK.finditer(text):
        if not _LOCAL_HOST.match(url[1]):
            offset = max(0, config.text.find(url[0]))
            yield on_text(config, f"{url[1]} decides what is allowed", offset=offset)
    if f'admin_token_hash = "{_EMPTY_SHA256}"' in text:
        message = "an empty token opens ClearImageCache"
        offset = max(0, config.text.find(f'admin_token_hash = "{_EMPTY_SHA256}"'))
        yield on_text(config, message, Severity.MEDIUM, offset=offset)


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
    record = manifest.context.kms
    if record is None:
        return
    network = _NETWORKS.get(record.chain_id or 0, "")
    own = {network, f"{record.chain_id}:{record.contract}".lower()} if record.contract else _HOSTED
    for who, claim in sorted(manifest.context.kms_claims or ()):
        if claim.lower() not in own:
            yield at_top(f"{who} means {_article(claim)}, and the measured id is {record.name}'s")


def _article(claim: str) -> str:
    return {"hosted": "a hosted KMS"}.get(claim, f"the KMS {claim}" if ":" in claim else claim)


RULES: Final = (
    *(hosted_kms, unpinned_provider, no_provider, local_provider, unauthorized_hash),
    *(stale_hashes, no_notice, any_device, weak_kms, conflicting_evidence),
)
