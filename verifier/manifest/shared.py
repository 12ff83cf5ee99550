"""What the services of a compose file share: volumes, networks, files and models, by name."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar
from verifier.manifest.compose.merge import is_null
from verifier.manifest.compose.paths import guest_path
from verifier.manifest.text import Text, child, entry, text_of

_KERNEL_FOLDERS: Final = {
    "proc": "/proc",
    "sysfs": "/sys",
    "devtmpfs": "/dev",
    "debugfs": "/sys/kernel/debug",
    "tracefs": "/sys/kernel/tracing",
    "securityfs": "/sys/kernel/security",
    **dict.fromkeys(("cgroup", "cgroup2"), "/sys/fs/cgroup"),
    "bpf": "/sys/fs/bpf",
    "configfs": "/sys/kernel/config",
    "efivarfs": "/sys/firmware/efi",
}
"""File systems of the kernel that a volume can be, and the folder in which the guest has each."""
_SOURCES: Final = ("file", "environment", "content")
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "glusterfs"})


class FileSource(Struct, frozen=True):
    """Where the content of a secret or config comes from; what is not given is None."""

    section: str
    name: str
    file: Text | None
    environment: Text | None
    content: Text | None


class Shared:
    """The top level of a file, besides its services."""

    def __init__(self, tree: Mapping | None) -> None:
        self._tree = tree
        self.files = {(item.section, item.name): item for item in self._files()}
        """By section (`secrets` or `configs`) and name."""

    def _named(self, section: str) -> dict[str, Node]:
        node = child(self._tree, section)
        return node.entries if isinstance(node, Mapping) else {}

    def _files(self) -> Iterator[FileSource]:
        for section in ("secrets", "configs"):
            for name, node in self._named(section).items():
                file, environment, content = (_text(node, section, name, key) for key in _SOURCES)
                yield FileSource(section, name, file, environment, content)

    def models(self) -> Iterator[tuple[str, Text]]:
        """The names of models, with what each is pulled as."""
        for name, node in self._named("models").items():
            text = _text(node, "models", name, "model")
            if text is not None:
                yield name, text

    def volume_paths(self, volume: str) -> tuple[str, ...]:
        """The host paths that a named volume gives through its driver's options."""
        node = self._named("volumes").get(volume)
        options = child(node, "driver_opts")
        if options is None:
            return ()
        kind, given, device = (entry(options, key) for key in ("type", "o", "device"))
        if kind in _KERNEL_FOLDERS:
            return (_KERNEL_FOLDERS[kind],)
        listed = given.split(",")
        paths = [
            part
            for option in listed
            for part in option.partition("=")[2].split(":")
            if part.startswith("/") and kind not in _REMOTE
        ]
        if kind not in _REMOTE | _MEMORY and device and kind != "overlay":
            by_compose = given == "bind" and entry(node, "driver") == "local"
            paths.insert(0, guest_path(device if by_compose else f"/{device}"))
        return tuple(map(guest_path, paths))

    def remote_volume(self, volume: str) -> str:
        """The share of another machine that a named volume is, "" when it is none."""
        options = child(self._named("volumes").get(volume), "driver_opts")
        if options is None or entry(options, "type") not in _REMOTE:
            return ""
        return f"{entry(options, 'device')} ({entry(options, 'o')})"

    def volume_driver(self, volume: str) -> str:
        """The driver of a named volume, "" for Docker's own."""
        driver = entry(self._named("volumes").get(volume), "driver")
        return "" if driver == "local" else driver

    def is_host_network(self, name: str) -> bool:
        """Whether a network of the file is the guest's own: `host` is that of Docker itself."""
        node = self._named("networks").get(name)
        external = child(node, "external")
        is_external = external is not None and entry(node, "external").lower() != "false"
        own = entry(external, "name") or entry(node, "name")
        return entry(node, "driver") == "host" or (is_external and (own or name) == "host")


def _text(node: Node, *path: str) -> Text | None:
    value = child(node, path[-1])
    return None if not isinstance(value, Scalar) or is_null(value) else text_of(value, path)
