"""The project file, `dstack-audit.toml`: what every command of a project would be told again.

    policy = "policy.toml"            relative to the file
    timeout = 300

    [endpoints]                       rpc_url, explorer_url, safe_url, gateway, pccs_url
    rpc_url = ["https://rpc.example", "https://other.example"]

    [expect]                          as in a policy: app_id, compose_hash, os_image_hash, …
    compose_hash = ["…"]

    [apps.api]                        `verify api`; more keys as above, for this app alone
    id = "…"
    expect = { device = ["…"] }

A setting is what an option is where neither the command line nor the environment names it, of the
commands that have the option. A project file names no anchor of trust: another root, vouching for a
bundle, and the time of judgement belong on the command line alone.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from verifier.errors import UsageError
from verifier.evidence.codec import parse_toml
from verifier.evidence.regular_file import read_given
from verifier.model.identifiers import parse_app_id
from verifier.model.project import ProjectFile
from verifier.patterns import pattern
from verifier.policy.document import BUILT_IN, refuse_unknown

FILE: Final = "dstack-audit.toml"
ENDPOINTS: Final = ("rpc_url", "explorer_url", "safe_url", "gateway", "pccs_url")
EXPECTED: Final = ("app_id", "compose_hash", "os_image_hash", "device", "image", "kms")
_PLAIN: Final = ("policy", "timeout", "kms", "manifests")
_OF_ONE_APP: Final = ("id", "instance")
_TABLES: Final = ("endpoints", "expect")
_PATHS: Final = ("policy", "manifests")
_NAME: Final = pattern(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_MAX_BYTES: Final = 1 << 20

Settings = Mapping[str, tuple[str, ...]]
"""Values by the option that they are of, such as `--rpc-url`."""


class App(Struct, frozen=True):
    """An app by the name that the project gives it, and the settings for it alone."""

    app_id: str
    settings: Settings


class Project(Struct, frozen=True):
    """A project file: its path, the settings for every app, the apps by name, and its sha256."""

    path: Path
    settings: Settings
    apps: Mapping[str, App]
    sha256: str = ""

    def named(self, words: Iterable[str]) -> tuple[App, ...]:
        """The apps that arguments name, by name or id, each once."""
        ids = {app.app_id: app for app in self.apps.values()}
        found = (self.apps.get(word) or ids.get(parse_app_id(word) or "") for word in words)
        return tuple({app.app_id: app for app in found if app is not None}.values())

    def used(self, settings: Iterable[tuple[str, tuple[str, ...]]]) -> ProjectFile:
        """What a report says of it: these settings of options, paths as the file has them, and URLs
        without what may be a key."""
        from verifier.evidence.chain.endpoint_label import public_label  # noqa: PLC0415

        folder = f"{self.path.parent}/"

        def told(flag: str, value: str) -> str:
            if flag.removeprefix("--") in _PATHS:
                return value.removeprefix(folder)
            return public_label(value) if "://" in value else value

        chosen = tuple(
            (flag, tuple(told(flag, item) for item in values)) for flag, values in settings
        )
        return ProjectFile(self.path.name, self.sha256, chosen)

    def settings_for(self, words: Iterable[str]) -> Settings:
        """The settings of a command with these arguments: with one app, its own before those of
        all; with several, whose own may differ, those of all."""
        apps = self.named(words)
        return {**self.settings, **apps[0].settings} if len(apps) == 1 else self.settings


def find_project(named: str) -> Project | None:
    """The project file that the environment names ("-" for none), else the one of the working
    directory, if there is one. Raises UsageError."""
    if named == "-":
        return None
    path = Path(named or FILE)
    try:
        raw = read_given(path, _MAX_BYTES)
    except FileNotFoundError as error:
        if not named:
            return None
        raise UsageError(f"VERIFY_PROJECT={named}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"{path}: larger than {_MAX_BYTES} bytes")
    return parse_project(raw, path)


def parse_project(raw: bytes, path: Path) -> Project:
    """A project file. Raises UsageError for an unknown key, or a value of another kind."""
    document = parse_toml(raw, f"{path}")
    refuse_unknown(document, (*_PLAIN, *_TABLES, "apps"), f"{path}")
    apps = {
        name: _app(name, value, path) for name, value in _table(document, "apps", f"{path}").items()
    }
    settings = _settings(document, path, f"{path}")
    return Project(path, settings, apps, hashlib.sha256(raw).hexdigest())


def _app(name: str, value: object, path: Path) -> App:
    where = f"{path}: [apps.{name}]"
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{path}: [apps] {name!a} is no name of an app", hint="such as api, or api-staging"
        )
    if not isinstance(value, dict):
        raise UsageError(f"{where} is not a table", hint='write id = "40 hex digits" below it')
    refuse_unknown(value, (*_OF_ONE_APP, *_PLAIN, *_TABLES), where)
    app_id = parse_app_id(_text(value.get("id"), f"{where}: id"))
    if app_id is None:
        raise UsageError(f"{where}: id is no app id (40 hex digits)")
    return App(app_id, _settings(value, path, where))


def _settings(table: dict[str, Any], path: Path, where: str) -> Settings:
    endpoints = _table(table, "endpoints", where)
    expected = _table(table, "expect", where)
    refuse_unknown(endpoints, ENDPOINTS, f"{where}: endpoints")
    refuse_unknown(expected, EXPECTED, f"{where}: expect")
    plain = (key for key in (*_PLAIN, "instance") if key in table)
    found: dict[str, tuple[str, ...]]
    found = {f"--{key}": (_one(table[key], f"{where}: {key}", key, path),) for key in plain}
    for key, value in endpoints.items():
        found[f"--{key}"] = _several(value, f"{where}: endpoints: {key}")
    for key, value in expected.items():
        found[f"--expect-{key}"] = _several(value, f"{where}: expect: {key}")
    return {name.replace("_", "-"): values for name, values in found.items()}


def _one(value: object, what: str, key: str, path: Path) -> str:
    """A text, or a number of seconds; a path is relative to the file that names it."""
    if key == "timeout" and type(value) is int:
        return str(value)
    text = _text(value, what)
    return str(path.parent / text) if key in _PATHS and text not in BUILT_IN else text


def _several(value: object, what: str) -> tuple[str, ...]:
    """A text or a list of texts. An empty list is refused: nothing would be expected by it."""
    texts = tuple(_text(item, what) for item in (value if isinstance(value, list) else [value]))
    if not texts:
        raise UsageError(f"{what} is empty", hint="leave the key out, or fill it")
    return texts


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{what} is not a text", hint='write it in quotes, or ["several"]')
    return value


def _table(table: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise UsageError(f"{where}: {key} is not a table", hint=f"write it below [{key}]")
    return found
