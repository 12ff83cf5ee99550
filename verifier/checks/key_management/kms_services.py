"""What a KMS's own manifest says of who answers it: who has the keys, whom that service asks, and
which node tells of the chain.

A name in a manifest is worth something where the service of that name is the only one that has it,
and runs what its image does. So every service has to be plain: what is not known to leave that as
it is, is a doubt. Any service counts, since each shares the network of those that answer.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.manifest.compose.merge import is_null
from verifier.manifest.image import image_of
from verifier.manifest.model import COMMANDS, Manifest, Mount, Service, Text
from verifier.manifest.rules.kms import asked_for_permission, kms_configs
from verifier.manifest.text import child
from verifier.patterns import pattern

CONTRACT: Final = "KMS_CONTRACT_ADDR"
_RPC_URL: Final = "ETH_RPC_URL"
_ASKED_ENVIRONMENT: Final = frozenset({"HOST", "PORT", _RPC_URL, CONTRACT})
"""What the KMS's authorization service takes from its environment (kms/auth-eth/src/main.ts)."""
_KMS_ENVIRONMENT: Final = frozenset({"RUST_LOG"})

_PLAIN: Final = frozenset({
    *("image", "environment", "restart", "depends_on", "ports", "expose", "init"),
    *("read_only", "user", "cap_drop", "security_opt", "stop_grace_period"),
    *("cpus", "mem_limit", "pids_limit"),
})  # fmt: skip
"""Attributes that change neither what a service runs nor who else has its name."""
_OF_KMS: Final = frozenset({"command", "configs", "volumes"})
"""Those that a KMS has besides: each is read below."""
_TOP: Final = frozenset({"name", "version", "services", "volumes", "configs"})

_KMS_IMAGE: Final = pattern(r"(?:dstack-)?kms", re.ASCII)
_ASKED_IMAGE: Final = pattern(r"(?:dstack-)?(?:kms-)?auth-(?:api|eth)(?:-bun)?", re.ASCII)
"""What these images are called. The name proves nothing, `provenance.images` asks whose they are;
but an image of another name is not even said to do this."""

_PATH: Final = r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+"
_SCRIPT: Final = rf"(?:mkdir -p(?: {_PATH})+ && )?exec dstack-kms -c ({_PATH})"
_START: Final = pattern(_SCRIPT, re.ASCII)
_START_LINE: Final = pattern(rf"(?:/bin/)?sh -c (?:'{_SCRIPT}'|\"{_SCRIPT}\")", re.ASCII)
"""How a KMS is started (dstack kms/dstack-app): the script alone, and as one line with its shell.
Whatever else a shell reads may write another configuration. Without it the image starts with one of
its own."""
_MAX_NAMED: Final = 4
_DATA: Final = "/kms"
_SOCKETS: Final = frozenset({"/var/run/dstack.sock", "/var/run/tappd.sock"})
_SHELLS: Final = (["sh", "-c"], ["/bin/sh", "-c"])

_URL: Final = pattern(r"https?://([a-z][a-z0-9_-]*)(?::\d{1,5})?(?:/[A-Za-z0-9._~/-]*)?", re.ASCII)
"""The URL of another service, in the one form that every reader takes for the same: no name of a
user, no backslash, no number that is an address."""


class KmsServices(Struct, frozen=True, kw_only=True):
    """What a manifest says of who answers its KMS.

    asked      the URLs that it asks whether a guest may have its keys
    contracts  the contract that each of them obeys, in lower case; "" for one that is no service of
               the manifest, or names none
    nodes      the URLs of the nodes that they read the chain from, in lower case
    inside     whether each node is a service of the manifest
    doubts     why something else may answer than what the manifest names; () where nothing can
    """

    asked: tuple[str, ...]
    contracts: frozenset[str]
    nodes: tuple[str, ...]
    inside: bool
    doubts: tuple[str, ...]


def kms_services(manifest: Manifest) -> KmsServices:
    """What the manifest of a KMS says of who answers it."""
    asked = asked_for_permission(manifest)
    answering = {url: manifest.service(_service_name(url)) for url in asked}
    found = tuple(service for service in answering.values() if service is not None)
    nodes = tuple(dict.fromkeys(_literal(service, _RPC_URL) for service in found))
    contracts = (_literal(service, CONTRACT) if service else "" for service in answering.values())
    return KmsServices(
        asked=asked,
        contracts=frozenset(contracts),
        nodes=nodes,
        inside=all(manifest.service(_service_name(url)) is not None for url in nodes),
        doubts=tuple(_doubts(manifest, asked, {service.name for service in found})),
    )


def _service_name(url: str) -> str:
    """The name of the service that a URL is of, "" for any other URL."""
    found = _URL.fullmatch(url)
    return found[1] if found else ""


def _literal(service: Service, name: str) -> str:
    """The value of a variable whoever deploys it, in lower case; "" where there is none."""
    variable = service.environment.get(name)
    return (variable.literal or "").lower() if variable is not None else ""


def _doubts(manifest: Manifest, asked: tuple[str, ...], answering: set[str]) -> Iterator[str]:
    yield from _around(manifest)
    configs = [text for text, _ in kms_configs(manifest)]
    if len(configs) != 1:
        yield f"it holds {len(configs)} configurations of a KMS"
        return
    if asked != (_webhook(configs[0]),):
        yield "its configuration does not say in one certain way whom it asks"
    name = configs[0].path[1]
    keepers = [item for item in manifest.services if name in dict(_configs(item))]
    if not keepers:
        yield "no service has the configuration of the KMS"
    for service in manifest.services:
        if service in keepers:
            yield from _plain(service, _PLAIN | _OF_KMS, _KMS_ENVIRONMENT)
            yield from _named(manifest, service, _KMS_IMAGE, "that of a KMS")
            yield from _keeper(manifest, service)
        elif service.name in answering:
            yield from _plain(service, _PLAIN, _ASKED_ENVIRONMENT)
            yield from _named(manifest, service, _ASKED_IMAGE, "one that asks a contract")
        else:
            yield from _plain(service, _PLAIN, frozenset())


def _around(manifest: Manifest) -> Iterator[str]:
    """What stands around the services: scripts and variables of whoever runs them, networks."""
    if manifest.app is None or manifest.app.runner != "docker-compose":
        yield "its compose file is not what its guest starts"
    if manifest.scripts:
        yield "a script runs beside its services"
    if manifest.allowed is None:
        yield "nobody knows which variables its operator sets"
    elif manifest.allowed:
        yield f"its operator sets {', '.join(sorted(manifest.allowed)[:_MAX_NAMED])}"
    for key in manifest.tree.entries if manifest.tree is not None else ():
        if key not in _TOP and not key.startswith("x-"):
            yield f"its compose file has `{key}`"
    names = Counter(service.name.lower() for service in manifest.services)
    for name, count in names.items():
        if count > 1:
            yield f"several services have the name {name}"


def _plain(service: Service, known: frozenset[str], variables: frozenset[str]) -> Iterator[str]:
    """What of a service may change what it runs, or whose name it has."""
    for key, node in service.tree.entries.items():
        if key in known or key.startswith("x-") or is_null(node):
            continue
        if key in COMMANDS:
            yield f"what {service.name} runs is the operator's own `{key}`"
        else:
            yield f"`{key}` of {service.name} may change what it runs, or who answers"
    for name, variable in service.environment.items():
        if name not in variables or "$" in variable.text.text.partition("=")[0]:
            yield f"{name} may change what {service.name} runs"


def _named(
    manifest: Manifest, service: Service, names: "re.Pattern[str]", what: str
) -> Iterator[str]:
    repository = image_of(manifest, service).repository
    if not names.fullmatch(repository.rpartition("/")[2]):
        yield f"the image of {service.name} is not named as {what}: {repository or 'none'}"


def _keeper(manifest: Manifest, service: Service) -> Iterator[str]:
    """Why a service may not be a KMS that reads the configuration which it is given."""
    read = _read_path(service.field("command"))
    targets = [target for _, target in _configs(service)]
    if is_null(service.field("command")):
        yield f"{service.name} names no configuration, so that its image's own counts"
    elif not read:
        yield f"what {service.name} runs is the operator's own `command`"
    elif targets != [read]:
        where = ", ".join(targets) if len(targets) == 1 else f"{len(targets)} places"
        yield f"{service.name} reads {read}, and is given its configuration at {where}"
    for mount in service.mounts:
        if not _expected(manifest, mount):
            yield f"{service.name} has {mount.target or mount.source} from elsewhere"


def _read_path(command: Node | None) -> str:
    """The configuration that a KMS is started with, "" for any other command."""
    found = None
    if isinstance(command, Scalar):
        found = _START_LINE.fullmatch(command.text)
    elif isinstance(command, Sequence):
        words = [item.text if isinstance(item, Scalar) else "" for item in command.items]
        if words[:2] in _SHELLS and words[3:] == []:
            found = _START.fullmatch("".join(words[2:]))
    return next(filter(None, found.groups()), "") if found else ""


def _configs(service: Service) -> list[tuple[str, str]]:
    """The configuration files that a service is given: (name, place in the container), as they are
    written, so that a variable makes another name of it."""
    node = service.field("configs")
    found = []
    for item in node.items if isinstance(node, Sequence) else ():
        name = item if isinstance(item, Scalar) else child(item, "source")
        target = child(item, "target")
        named = name.text if isinstance(name, Scalar) else ""
        found.append((named, target.text if isinstance(target, Scalar) else f"/{named}"))
    return found


def _expected(manifest: Manifest, mount: Mount) -> bool:
    """Whether a KMS has it: a volume of its own for what it keeps, or the guest's socket."""
    if mount.kind == "volume":
        # A driver, or another file's volume, can bring anything.
        named = child(manifest.tree, "volumes", mount.source)
        empty = named is None or is_null(named) or (
            isinstance(named, Mapping) and not named.entries
        )  # fmt: skip
        return mount.target == _DATA and empty
    return mount.bind and mount.source == mount.target and mount.source in _SOCKETS


def _webhook(config: Text) -> str:
    """Whom a KMS of this configuration asks, "" where it is not certain."""
    if "$" in config.text:
        return ""
    document: Any
    try:
        document = tomllib.loads(config.text)
    except (ValueError, RecursionError):
        return ""
    for name in ("core", "auth_api"):
        document = document.get(name) if isinstance(document, dict) else None
    webhook = document.get("webhook") if isinstance(document, dict) else None
    if not isinstance(webhook, dict) or document.get("type") != "webhook":
        return ""
    url = webhook.get("url")
    return url if isinstance(url, str) else ""
