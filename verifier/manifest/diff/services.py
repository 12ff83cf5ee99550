"""One service in two manifests, field by field; lists and mappings that mean the same are equal."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.manifest.compose.ports import span
from verifier.manifest.diff.change import DIVERGENCE, REGRESSION, Change, shown
from verifier.manifest.diff.document import Document
from verifier.manifest.diff.images import compare_image
from verifier.manifest.diff.opened import severity_of, worst
from verifier.manifest.diff.tree import plain, pointer_to, text_of
from verifier.manifest.model import Env, Mount, PublishedPort, Service, Text
from verifier.model.result import Severity

Inputs = dict[tuple[str, ...], set[str]]

_APART: Final = frozenset({"image", "environment", "ports", "volumes"})
_CODE: Final = {
    "command": "another command runs",
    "entrypoint": "another command runs",
    "build": "it is built from something else",
    "configs": "it is given other files",
    "secrets": "it is given other secrets",
    "extends": "its definition comes from elsewhere",
    "env_file": "its variables come from another file",
}
_ISOLATION: Final = {
    "privileged": "whether it is root in the guest",
    "cap_add": "what it may do to the guest",
    "cap_drop": "what it may do to the guest",
    "devices": "which devices it reaches",
    "device_cgroup_rules": "which devices it reaches",
    "security_opt": "how it is confined",
    "read_only": "whether it may change its own files",
    "network_mode": "whose network it shares",
    "pid": "whose processes it sees",
    "ipc": "whose memory it shares",
    "uts": "whose host name it shares",
    "userns_mode": "whose user ids it shares",
    "cgroup": "whose control groups it shares",
    "user": "as whom it runs",
    "volumes_from": "whose volumes it shares",
    "gpus": "which devices it reaches",
    "runtime": "what runs it",
}


def compare_service(
    old: Document, new: Document, before: Service, after: Service, inputs: tuple[Inputs, Inputs]
) -> Iterator[Change]:
    """The differences of one service; `inputs` are `operator_inputs` of both manifests."""
    image = compare_image(old, new, before, after)
    if image is not None:
        yield image
    for name, found in (
        ("environment", _environment(old, new, before, after)),
        ("ports", _ports(new, before, after)),
        ("volumes", _mounts(new, before, after)),
    ):
        changes = list(found)
        yield from changes
        one, other = before.tree.entries.get(name), after.tree.entries.get(name)
        if plain(one) != plain(other) and (not changes or isinstance(other, Scalar)):
            yield _other_form(before, after, name)
    names = before.tree.entries.keys() | after.tree.entries.keys()
    for name in sorted(names - _APART):
        one, other = before.tree.entries.get(name), after.tree.entries.get(name)
        if plain(one) != plain(other):
            yield _field(new, before, after, name, inputs)


def added_service(document: Document, service: Service) -> Change:
    """A service that only the newer manifest has."""
    return Change(
        rule=DIVERGENCE,
        severity=Severity.LOW,
        pointer=service.place.pointer,
        meaning="a new container runs in the guest, next to all the others",
        after=shown(service.image.text if service.image else "(built on the guest)"),
        service=service.name,
        line=service.tree.line,
        column=service.tree.column,
        conditional=document.manifest.unsure,
    )


def removed_service(service: Service) -> Change:
    """A service that only the older manifest has."""
    return Change(
        rule=DIVERGENCE,
        severity=Severity.INFO,
        pointer=service.place.pointer,
        meaning="the container is gone",
        before=shown(service.image.text if service.image else "(built on the guest)"),
        service=service.name,
        line=service.tree.line,
        column=service.tree.column,
    )


def _field(
    new: Document, before: Service, after: Service, name: str, inputs: tuple[Inputs, Inputs]
) -> Change:
    key = ("services", after.name, name)
    had = inputs[0].get(("services", before.name, name), set())
    opened = sorted(inputs[1].get(key, set()) - had)
    line, column = after.tree.keys.get(name, (after.tree.line, after.tree.column))
    if opened:
        rule, severity = REGRESSION, worst(severity_of(opened), Severity.MEDIUM)
        meaning = f"the operator now sets part of it: {', '.join(opened)}"
    elif name in _ISOLATION:
        rule, severity, meaning = DIVERGENCE, Severity.LOW, f"it changes {_ISOLATION[name]}"
    elif name in _CODE:
        rule, severity, meaning = DIVERGENCE, Severity.LOW, _CODE[name]
    else:
        rule, severity, meaning = DIVERGENCE, Severity.INFO, f"`{name}` changes"
    return Change(
        rule=rule,
        severity=severity,
        pointer=pointer_to(*after.path, name),
        meaning=meaning,
        before=shown(text_of(before.field(name))),
        after=shown(text_of(after.field(name))),
        service=after.name,
        line=line,
        column=column,
        conditional=bool(opened) and new.manifest.unsure,
    )


def _environment(old: Document, new: Document, before: Service, after: Service) -> Iterator[Change]:
    had, has = before.environment, after.environment
    for key in sorted(had.keys() | has.keys()):
        one, other = had.get(key), has.get(key)
        if _env_value(one) == _env_value(other):
            continue
        rule, severity, meaning, conditional = _judge_env(old, new, one, other)
        text = (has.get(key) or had[key]).text
        yield Change(
            rule=rule,
            severity=severity,
            pointer=text.place.pointer,
            meaning=meaning,
            before=_env_shown(one),
            after=_env_shown(other),
            service=after.name,
            line=text.line,
            column=text.column,
            conditional=conditional,
        )


def _judge_env(
    old: Document, new: Document, one: Env | None, other: Env | None
) -> tuple[str, Severity, str, bool]:
    if other is None:
        return DIVERGENCE, Severity.INFO, "the variable is gone", False
    names = new.manifest.operator_names(*other.variables)
    if one is None:
        fixed = "fixed in the manifest" if other.literal is not None else "no operator sets it"
        meaning = f"new, {'set by the operator' if names else fixed}"
        return DIVERGENCE, Severity.INFO, meaning, False
    had = old.manifest.operator_names(*one.variables)
    opened = [name for name in names if name not in had]
    if opened and not had:
        severity = severity_of([other.key, *opened])
        rule = REGRESSION if severity.rank <= Severity.HIGH.rank else DIVERGENCE
        meaning = f"fixed in the manifest before, set by the operator now ({', '.join(opened)})"
        return rule, severity, meaning, new.manifest.unsure
    if had and not names:
        return DIVERGENCE, Severity.INFO, "better: fixed in the manifest now", False
    severity = severity_of(opened) if opened else Severity.INFO
    return DIVERGENCE, severity, "another value", False


def _env_value(env: Env | None) -> tuple[str, ...]:
    if env is None:
        return ()
    return (env.key,) if env.value is None else (env.key, env.value)


def _env_shown(env: Env | None) -> str | None:
    if env is None:
        return None
    return f"{env.key} (passed through)" if env.value is None else shown(f"{env.key}={env.value}")


def _ports(new: Document, before: Service, after: Service) -> Iterator[Change]:
    had, has = ({_port(port): port for port in service.ports} for service in (before, after))
    for key in sorted(had.keys() ^ has.keys()):
        port, is_new = has.get(key) or had[key], key in has
        reach = "reachable through the gateway" if port.public else "reachable inside the guest"
        change = _item(after, port.text, key, is_new=is_new)
        if not is_new:
            yield replace(change, meaning="the port is no longer published")
            continue
        severity = Severity.LOW if port.public else Severity.INFO
        given = replace(change, severity=severity, meaning=f"a port, {reach}")
        yield _opened(new, port.text, given)


def _port(port: PublishedPort) -> str:
    if port.text.template is not None:
        return port.text.text
    found = port.port
    host = f"{found.host_ip}:" if found.host_ip else ""
    targets = span(found.targets) or port.text.text
    protocol = "" if found.protocol == "tcp" else f"/{found.protocol}"
    return f"{host}{span(found.published) or targets} → {targets}{protocol}"


def _mounts(new: Document, before: Service, after: Service) -> Iterator[Change]:
    had, has = ({_mount(item): item for item in _volumes(side)} for side in (before, after))
    for key in sorted(had.keys() ^ has.keys()):
        mount, is_new = has.get(key) or had[key], key in has
        what = "a path of the guest" if mount.bind else "a volume"
        change = _item(after, mount.text, key, is_new=is_new)
        if not is_new:
            yield replace(change, meaning=f"{what} is no longer given to it")
            continue
        severity = Severity.LOW if mount.bind else Severity.INFO
        given = replace(change, severity=severity, meaning=f"{what} is given to it")
        yield _opened(new, mount.text, given)


def _volumes(service: Service) -> Iterator[Mount]:
    """What `volumes` gives; what another attribute gives is a difference of that one."""
    return (m for m in service.mounts if not m.how or m.how.startswith("volume "))


def _mount(mount: Mount) -> str:
    mode = " (read-only)" if mount.read_only else ""
    source = mount.text.text if mount.text.template is not None else mount.source
    return f"{source or '(anonymous)'} → {mount.target}{mode}"


def _item(service: Service, text: Text, key: str, *, is_new: bool) -> Change:
    """One item that is new in a list, or gone from it."""
    return Change(
        rule=DIVERGENCE,
        severity=Severity.INFO,
        pointer=text.place.pointer,
        meaning="",
        before=None if is_new else key,
        after=key if is_new else None,
        service=service.name,
        line=text.line,
        column=text.column,
    )


def _opened(new: Document, text: Text, change: Change) -> Change:
    """The same as a regression where the operator sets part of a new item."""
    names = new.manifest.operator_names(*text.variables)
    if not names:
        return change
    return replace(
        change,
        rule=REGRESSION,
        severity=worst(severity_of(names), Severity.MEDIUM),
        meaning=f"{change.meaning}; the operator sets part of it: {', '.join(names)}",
        conditional=new.manifest.unsure,
    )


def _other_form(before: Service, after: Service, name: str) -> Change:
    """A list that differs although its items, as far as they are understood, are the same."""
    nodes = [before.tree.entries.get(name), after.tree.entries.get(name)]
    harmless = all(_is_flat(node, mapping=name == "environment") for node in nodes)
    line, column = after.tree.keys.get(name, (after.tree.line, after.tree.column))
    return Change(
        rule=DIVERGENCE,
        severity=Severity.INFO if harmless else Severity.MEDIUM,
        pointer=pointer_to(*after.path, name),
        meaning="the same in another order or form"
        if harmless
        else f"`{name}` differs in a detail that is not understood here",
        before=shown(text_of(nodes[0])),
        after=shown(text_of(nodes[1])),
        service=after.name,
        line=line,
        column=column,
    )


def _is_flat(node: Node | None, *, mapping: bool) -> bool:
    """Whether every item is one text, so that the model reads all of it."""
    if isinstance(node, Sequence):
        return all(isinstance(item, Scalar) for item in node.items)
    if isinstance(node, Mapping):
        return mapping and all(isinstance(item, Scalar) for item in node.entries.values())
    return node is None or node.kind == "null"
