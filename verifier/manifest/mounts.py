"""What of the guest a service is given as files, in one form whichever attribute gives it."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.manifest.compose.paths import guest_path, is_path, real_path
from verifier.manifest.compose.volumes import ShortVolume, clean_target, parse_volume
from verifier.manifest.shared import Shared
from verifier.manifest.text import Text, child, entry, text_at, text_of, texts_of, unset

DOCKER_SOCKET: Final = "/var/run/docker.sock"
_FOLDERS: Final = {"secrets": "/run/secrets", "configs": ""}


class Mount(Struct, frozen=True, gc=False):
    """Files that a container is given.

    kind       `bind` for a path of the guest, `volume`, `image`, `tmpfs`, or another of Compose's
    source     the path in the guest, the volume's name, or the image's reference
    target     where the container has it
    read_only  whether it may not write there
    text       where the file says so
    how        the attribute that gives it, "" for `volumes`
    """

    kind: str
    source: str
    target: str
    read_only: bool
    text: Text
    how: str = ""

    @property
    def real(self) -> str:
        """A path of the guest under the name that the guest knows it by; "" for anything else."""
        return real_path(self.source) if self.bind else ""

    @property
    def bind(self) -> bool:
        """Whether it is a path of the guest."""
        return self.kind == "bind"


def mounts_of(tree: Mapping, path: tuple[str, ...], shared: Shared) -> Iterator[Mount]:
    """Every mount of a service, in the order of the attributes."""
    volumes = tree.entries.get("volumes")
    for place, item in enumerate(volumes.items if isinstance(volumes, Sequence) else ()):
        yield from _volume(item, (*path, "volumes", str(place)), shared)
    socket = tree.entries.get("use_api_socket")
    if socket is not None and entry(tree, "use_api_socket").lower() in {"true", "yes", "on", "y"}:
        text = text_at(DOCKER_SOCKET, (*path, "use_api_socket"), socket)
        yield Mount(
            kind="bind",
            source=DOCKER_SOCKET,
            target=DOCKER_SOCKET,
            read_only=False,
            text=text,
            how="use_api_socket",
        )
    for section in ("secrets", "configs"):
        yield from _files(tree.entries.get(section), (*path, section), shared)
    yield from _files(child(tree, "build", "secrets"), (*path, "build", "secrets"), shared)
    for text in texts_of(child(tree, "build", "ssh"), (*path, "build", "ssh")):
        for key in filter(None, text.unset.partition("=")[2].split(",")):
            yield Mount("bind", guest_path(key), "", read_only=True, text=text, how="build ssh")


def _volume(node: Node, path: tuple[str, ...], shared: Shared) -> Iterator[Mount]:
    if isinstance(node, Scalar):
        text = text_of(node, path)
        short = parse_volume(text.unset) or _refused_volume(text.unset)
        kind = "bind" if short.bind else "volume"
        mount = Mount(kind, short.source, short.target, short.read_only, text)
    else:
        source = entry(node, "source")
        kind = entry(node, "type") or ("bind" if is_path(source) else "volume")
        read_only = entry(node, "read_only").lower() in {"true", "yes", "on", "y"}
        given = child(node, "source")
        text = text_at("", path, node)
        if isinstance(given, Scalar):
            text = text_of(given, (*path, "source"))
        target = entry(node, "target")
        mount = Mount(kind, source, clean_target(target), read_only, text)
    if mount.kind == "bind":
        yield Mount("bind", guest_path(mount.source), mount.target, mount.read_only, text)
        return
    paths = shared.volume_paths(mount.source) if mount.kind == "volume" else ()
    for found in paths:
        how = f"volume {mount.source}"
        yield Mount("bind", found, mount.target, mount.read_only, text, how)
    if not paths:
        yield mount


def _refused_volume(text: str) -> ShortVolume:
    """What a text most likely means that Compose refuses."""
    source, _, rest = text.partition(":")
    return ShortVolume(source, rest.partition(":")[0], is_path(source), read_only=False)


def _files(granted: Node | None, path: tuple[str, ...], shared: Shared) -> Iterator[Mount]:
    """The secrets or configs of a service that are files of the guest: Compose binds them."""
    section = path[-1]
    for place, item in enumerate(granted.items if isinstance(granted, Sequence) else ()):
        name = unset(item.text) if isinstance(item, Scalar) else entry(item, "source")
        source = shared.files.get((section, name))
        if source is None or source.file is None:
            continue
        target = entry(item, "target") if isinstance(item, Mapping) else ""
        text = text_at(source.file.text, (*path, str(place)), item)
        kind = section.removesuffix("s")
        yield Mount(
            kind="bind",
            source=guest_path(source.file.unset),
            target=target or f"{_FOLDERS[section]}/{name}",
            read_only=True,
            text=text,
            how=f"{kind} {name}" if path[2] != "build" else f"build secret {name}",
        )
