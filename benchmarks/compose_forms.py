"""One service in plain values, by what the rules see of it and by what Docker Compose says."""

import json
import shlex
from collections.abc import Iterator
from typing import Any, Final

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.manifest.compose.paths import guest_path
from verifier.manifest.model import Env, Manifest, Service, Text
from verifier.manifest.service import environment_of
from verifier.manifest.text import entry, unset

_FLAGS: Final = ("privileged", "read_only", "use_api_socket", "tty", "init")
_SCALARS: Final = (
    *("network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup", "user", "restart", "runtime"),
    *("container_name", "hostname", "platform", "pull_policy", "cgroup_parent"),
)
_LISTS: Final = ("cap_add", "cap_drop", "security_opt", "device_cgroup_rules", "volumes_from")


def ours_of(manifest: Manifest) -> dict[str, Any]:
    """Every service of a manifest."""
    found = {service.name: _ours(service) for service in manifest.services}
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def theirs_of(said: dict[str, Any]) -> dict[str, Any]:
    """Every service that `config --format json` shows; it doubles dollar signs."""
    plain = json.loads(json.dumps(said).replace("$$", "$"))
    return {name: _theirs(service) for name, service in plain.get("services", {}).items()}


def _ours(service: Service) -> dict[str, Any]:
    found = {
        "image": service.says("image"),
        "environment": _environment(service.environment),
        "mounts": sorted(_mounts(service)),
        "ports": sorted(
            [p.port.host_ip, published, target, p.port.protocol]
            for p in service.ports
            for published, target in p.port.pairs
        ),
        "flags": [name for name in _FLAGS if service.is_true(name)],
        "texts": {name: service.says(name) for name in _SCALARS if service.says(name)},
        "lists": {n: sorted({t.unset for t in service.texts(n)}) for n in _LISTS},
        "command": _words(service, "command"),
        "entrypoint": _words(service, "entrypoint"),
        "hooks": [
            [
                hook.path[2],
                "" if hook.command is None else _joined_words(hook.command.unset),
                _environment(hook.environment),
            ]
            for hook in service.hooks
        ],
        "devices": sorted(text.unset.partition(":")[0] for text in service.devices),
        "secrets": sorted(_granted(service, "secrets", "/run/secrets/")),
        "configs": sorted(_granted(service, "configs", "")),
        "networks": sorted(text.unset for text in service.networks),
        "models": sorted(_keys(service.field("models"))),
        "provider": service.says("provider", "type"),
        "gpus": service.has_gpu,
        "profiles": sorted({text.unset for text in service.texts("profiles")}),
        "build": _build(service) if service.builds else {},
    }
    return {key: value for key, value in found.items() if value}


def _environment(entries: dict[str, Env]) -> dict[str, str | None]:
    return {key: None if e.value is None else unset(e.value) for key, e in entries.items()}


def _mounts(service: Service) -> Iterator[list[Any]]:
    for mount in service.mounts:
        if mount.how.startswith("volume "):
            name = mount.how.removeprefix("volume ")
            yield ["volume", name, mount.target, mount.read_only]
        elif not mount.how:
            source = "" if mount.kind == "tmpfs" else mount.source
            yield [mount.kind, source, mount.target, mount.read_only]


def _words(service: Service, name: str) -> list[str]:
    node = service.field(name)
    texts = service.texts(name)
    if isinstance(node, Scalar):
        return shlex.split(texts[0].unset) if texts else []
    return [text.unset for text in texts]


def _granted(service: Service, section: str, folder: str) -> Iterator[list[str]]:
    node = service.field(section)
    for item in node.items if isinstance(node, Sequence) else ():
        name = unset(item.text) if isinstance(item, Scalar) else entry(item, "source")
        target = entry(item, "target") if isinstance(item, Mapping) else ""
        yield [name, target or (f"{folder}{name}" if folder else "")]


def _build(service: Service) -> dict[str, Any]:
    context = service.build_context
    contexts = service.texts("build", "additional_contexts")
    args = environment_of(service.field("build", "args"), ("build", "args"))
    found = {
        "context": _context(context.unset if context else "."),
        "contexts": dict(sorted(_named_context(text) for text in contexts)),
        "args": {k: v for k, v in _environment(args).items() if v is not None},
        "privileged": service.is_true("build", "privileged"),
        "network": service.says("build", "network"),
    }
    return {key: value for key, value in found.items() if value}


def _named_context(text: Text) -> tuple[str, str]:
    name, _, value = text.unset.partition("=")
    return name, _context(value)


def _context(text: str) -> str:
    return text if "://" in text or text.startswith("git@") else guest_path(text)


def _theirs(service: dict[str, Any]) -> dict[str, Any]:
    found = {
        "image": service.get("image", ""),
        "environment": service.get("environment") or {},
        "mounts": sorted(
            [
                volume["type"],
                _source(volume),
                volume["target"],
                volume.get("read_only", False),
            ]
            for volume in service.get("volumes", ())
        ),
        "ports": sorted(
            [
                port.get("host_ip", ""),
                str(port.get("published", "")),
                port["target"],
                port.get("protocol", "tcp"),
            ]
            for port in service.get("ports", ())
        ),
        "flags": [name for name in _FLAGS if service.get(name)],
        "texts": {name: service[name] for name in _SCALARS if service.get(name)},
        "lists": {name: sorted(service.get(name) or ()) for name in _LISTS},
        "command": service.get("command") or [],
        "entrypoint": service.get("entrypoint") or [],
        "hooks": [
            [
                stage,
                _joined_words(" ".join(hook.get("command") or ())),
                hook.get("environment") or {},
            ]
            for stage in ("pre_start", "post_start", "pre_stop")
            for hook in service.get(stage, ())
        ],
        "devices": sorted(device["source"] for device in service.get("devices", ())),
        "secrets": sorted([s["source"], s.get("target", "")] for s in service.get("secrets", ())),
        "configs": sorted([s["source"], s.get("target", "")] for s in service.get("configs", ())),
        "networks": sorted(_joined(service)),
        "models": sorted(service.get("models") or {}),
        "provider": (service.get("provider") or {}).get("type", ""),
        "gpus": bool(
            service.get("runtime") == "nvidia" or service.get("gpus") or _reserved(service)
        ),
        "profiles": sorted(service.get("profiles", ())),
        "build": _their_build(service["build"]) if service.get("build") else {},
    }
    return {key: value for key, value in found.items() if value}


def _reserved(service: dict[str, Any]) -> object:
    """The devices that are reserved for a service."""
    found = service.get("deploy") or {}
    for name in ("resources", "reservations", "devices"):
        found = found.get(name) or {}
    return found


def _keys(node: Node | None) -> list[str]:
    if isinstance(node, Sequence):
        return [unset(item.text) for item in node.items if isinstance(item, Scalar)]
    return list(node.entries) if isinstance(node, Mapping) else []


def _source(volume: dict[str, Any]) -> str:
    source: str = volume.get("source", "")
    if volume["type"] == "tmpfs":
        return ""
    return guest_path(source) if volume["type"] == "bind" else source


def _joined_words(line: str) -> str:
    return " ".join(shlex.split(line))


def _joined(service: dict[str, Any]) -> list[str]:
    """The networks that a service joins, without the one that it joins if it names none."""
    joined = service.get("networks") or {}
    return [] if joined == {"default": None} else list(joined)


def _their_build(build: dict[str, Any]) -> dict[str, Any]:
    found = {
        "context": build.get("context", "/dstack"),
        "contexts": build.get("additional_contexts") or {},
        "args": build.get("args") or {},
        "privileged": build.get("privileged", False),
        "network": build.get("network", ""),
    }
    return {key: value for key, value in found.items() if value}
