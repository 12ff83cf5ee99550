"""Host paths of a compose file, as they are in the guest.

Compose resolves relative paths against its project directory. In a dstack guest that is /dstack,
the working directory of app-compose.service, where its keys and its environment lie. Sources:
dstack os/common/rootfs/app-compose.service and dstack-prepare.sh, dstack-types
src/shared_filenames.rs.
"""

import posixpath
import re
from typing import Final

from verifier.manifest.remembered import remembered
from verifier.patterns import pattern

PROJECT: Final = "/dstack"
COMPOSE_FILE: Final = f"{PROJECT}/docker-compose.yaml"
"""Where the guest writes the compose file itself (app-compose.sh, `COMPOSE_FILE`)."""
HOST_SHARED: Final = f"{PROJECT}/.host-shared"
"""The app's keys, the decrypted environment, and what the host wrote."""
PERSISTENT: Final = f"{PROJECT}/persistent"
"""The data disk: Docker's own state under `var`, and what apps keep there."""

_HOME: Final = "/root"
"""What `~` is taken for: the unit sets no HOME, and Compose then leaves `~` as it stands."""
_PROCESS_ROOT: Final = pattern(r"/proc/(?:self|thread-self|[0-9]+)/root(?=/|$)", re.ASCII)
_PROCESS_FOLDER: Final = pattern(r"/proc/(?:self|thread-self|[0-9]+)/cwd(?=/|$)", re.ASCII)
_ALIASES: Final = (
    ("/var/volatile/dstack", PROJECT),  # of which /dstack is a bind mount
    ("/tapp", PROJECT),  # before 0.5
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
)
_ENVIRONMENT: Final = pattern(rf"{re.escape(HOST_SHARED)}/\.decrypted-env(?:\.json)?")


@remembered
def guest_path(path: str) -> str:
    """An absolute path without `.`, `..`, doubled and trailing slashes; "" for no path."""
    if not path:
        return ""
    if path == "~" or path.startswith("~/"):
        path = _HOME + path[1:]
    joined = posixpath.normpath(posixpath.join(PROJECT, path))
    return "/" + joined.lstrip("/")


@remembered
def real_path(path: str) -> str:
    """The same file under the name that the guest knows it by, for a normal path."""
    while match := _PROCESS_ROOT.match(path):
        path = guest_path(path[match.end() :] or "/")
    path = _PROCESS_FOLDER.sub(PROJECT, path, count=1)
    for alias, name in _ALIASES:
        if is_within(path, alias):
            return name + path[len(alias) :]
    return path


def is_path(source: str) -> bool:
    """Whether the short syntax of a volume takes this for a path rather than for a name."""
    return source.startswith(("/", ".", "~", "\\\\"))


def is_within(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it; both are normal."""
    return folder in {path, "/"} or path.startswith(f"{folder}/")


def holds(path: str, file: str) -> bool:
    """Whether a real path is, contains or lies in what a real file names, under all its names."""
    names = (file, *(a + file[len(name) :] for a, name in _ALIASES if is_within(file, name)))
    return is_within(path, file) or any(is_within(name, path) for name in names)


@remembered
def holds_keys(path: str) -> bool:
    """Whether the app's keys or its decrypted environment can be read through a real path."""
    return holds(path, HOST_SHARED)


@remembered
def holds_environment(path: str) -> bool:
    """Whether every variable that the operator sets can be read through a real path."""
    below = is_within(path, HOST_SHARED) and path != HOST_SHARED
    return _ENVIRONMENT.fullmatch(path) is not None if below else holds_keys(path)


def is_environment(path: str) -> bool:
    """Whether a real path is the decrypted environment alone."""
    return _ENVIRONMENT.fullmatch(path) is not None
