"""The app-compose manifest: what a dstack guest reads from it, and what it then assumes.

The guest hashes the raw bytes and ignores fields that it does not know. Source: Dstack-TEE/dstack
dstack-types/src/lib.rs (fields and defaults), os/common/rootfs/app-compose.sh (the scripts).
"""

import json
import re
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.result import JsonValue
from verifier.patterns import pattern

MAX_BYTES: Final = 4 << 20
WHAT: Final = "app-compose"

COMPOSE_RUNNERS: Final = frozenset({"docker-compose", "nerdctl-compose"})
FLAGS: Final = {
    "public_logs": False,
    "public_sysinfo": False,
    "public_tcbinfo": True,
    "kms_enabled": False,
    "gateway_enabled": False,
    "tproxy_enabled": False,
    "local_key_provider_enabled": False,
    "no_instance_id": False,
    "secure_time": True,
}
"""The boolean fields and what the guest assumes where one is absent."""

KNOWN_FIELDS: Final = frozenset(FLAGS) | {
    *("manifest_version", "name", "runner", "snapshotter", "docker_compose_file", "init_script"),
    *("pre_launch_script", "bash_script", "features", "key_provider", "key_provider_id"),
    *("allowed_envs", "storage_fs", "swap_size", "event_log_version", "port_policy"),
    *("requirements", "verity_volumes"),
}
LEGACY_FIELDS: Final = frozenset(
    {"docker_config", "salt", "version", "default_gateway_domain", "launch_token_hash"}
)
"""Hashed, and read by no guest of today (`launch_token_hash`: only by a script)."""


_NUMBERED_VERSIONS: Final = (1, 2)
"""dstack-types/src/lib.rs, deserialize_manifest_version."""
_COLON: Final = pattern(rb"\s*:")


class DuplicateFieldError(EvidenceError):
    """A manifest with the same key twice: `jq` takes the last, a reader may see the first."""


class AppCompose(Struct, frozen=True, kw_only=True):
    """A parsed manifest: its JSON, and what the guest makes of it.

    document         its JSON
    raw              its bytes
    version          `manifest_version` as text; "" when absent
    name             the app's name; "" when absent
    runner           what starts the app, such as `docker-compose`; "" when absent
    compose          `docker_compose_file`; None when absent
    flags            every name of `FLAGS` → its value, or what the guest assumes when it is absent
    key_provider     as the field names it; "" when absent: see `provider`
    key_provider_id  which key provider the app wants, as text; "" when absent
    allowed_envs     the items of the field; None when absent
    scripts          the non-empty scripts by their JSON pointer, in the order in which they run
    """

    document: codec.JsonObject
    raw: bytes
    version: str
    name: str
    runner: str
    compose: str | None
    flags: dict[str, bool]
    key_provider: str
    key_provider_id: str
    allowed_envs: tuple[JsonValue, ...] | None
    scripts: dict[str, str]

    @property
    def pre_launch_script(self) -> str:
        """The pre-launch script, "" when absent."""
        return self.scripts.get("/pre_launch_script", "")

    @property
    def gateway(self) -> bool:
        """Whether the gateway reaches this app: the field, its old name, or the old feature."""
        features = self.document.get("features")
        legacy = isinstance(features, list) and "tproxy-net" in features
        return self.flags["gateway_enabled"] or self.flags["tproxy_enabled"] or legacy

    @property
    def provider(self) -> str:
        """The effective key provider: the field (0.5.6 and later), else what the flags say."""
        if self.key_provider:
            return self.key_provider
        if self.flags["kms_enabled"]:
            return "kms"
        return "local" if self.flags["local_key_provider_enabled"] else "none"

    def object(self, name: str) -> codec.JsonObject:
        """A field that is an object, {} when it is absent or anything else."""
        value = self.document.get(name)
        return value if isinstance(value, dict) else {}


def parse_app_compose(raw: bytes) -> AppCompose:
    """The manifest in `raw`, as the guest would read it.

    Raises DuplicateFieldError for a key that is there twice, and EvidenceError for anything that
    is no strict JSON object or has a field of a type that the guest refuses.
    """
    if len(raw) > MAX_BYTES:
        raise EvidenceError(f"{WHAT}: {len(raw)} bytes, over the limit of {MAX_BYTES}")
    try:
        document = codec.parse_json_object(raw, WHAT)
    except EvidenceError as error:
        duplicate = _first_duplicate(raw)
        if duplicate is None:
            raise
        raise DuplicateFieldError(f"{WHAT}: the key {duplicate!a} is there twice") from error
    compose = document.get("docker_compose_file")
    allowed = document.get("allowed_envs")
    return AppCompose(
        document=document,
        raw=raw,
        version=_version(document),
        name=codec.text_field(document, "name", WHAT),
        runner=codec.text_field(document, "runner", WHAT),
        compose=None if compose is None else codec.as_str(compose, f"{WHAT}.docker_compose_file"),
        flags={name: _flag(document, name) for name in FLAGS},
        key_provider=codec.text_field(document, "key_provider", WHAT),
        key_provider_id=codec.text_field(document, "key_provider_id", WHAT),
        allowed_envs=(
            None if allowed is None else tuple(codec.as_list(allowed, f"{WHAT}.allowed_envs"))
        ),
        scripts=_scripts(document),
    )


def line_of_field(raw: bytes, name: str) -> tuple[int, int]:
    """Line and column, from 1, of a top-level looking key in the raw text; (0, 0) if not found."""
    key = json.dumps(name, ensure_ascii=False).encode("utf-8", "replace")
    at = raw.find(key)
    while at >= 0 and not _COLON.match(raw, at + len(key)):
        at = raw.find(key, at + 1)
    if at < 0:
        return 0, 0
    start = raw.rfind(b"\n", 0, at) + 1
    column = len(raw[start:at].decode("utf-8", "replace")) + 1
    return raw.count(b"\n", 0, at) + 1, column


def _version(document: codec.JsonObject) -> str:
    """manifest_version as text. 1 and 2 are numbers, "3" and later strings."""
    value = document.get("manifest_version")
    if isinstance(value, str) or value is None:
        return value or ""
    number = codec.as_int(value, f"{WHAT}.manifest_version")
    if number not in _NUMBERED_VERSIONS:
        raise EvidenceError(
            f"{WHAT}.manifest_version: the number {number} is refused by the guest",
            hint=f'from version 3 on it is text: "manifest_version": "{number}"',
        )
    return str(number)


def _flag(document: codec.JsonObject, name: str) -> bool:
    value = document.get(name)
    if value is None:
        return FLAGS[name]
    if not isinstance(value, bool):
        raise EvidenceError(f"{WHAT}.{name}: expected true or false")
    return value


def _scripts(document: codec.JsonObject) -> dict[str, str]:
    init = document.get("init_script")
    listed = init if isinstance(init, list) else [init]
    found = {
        f"/init_script/{place}" if isinstance(init, list) else "/init_script": item
        for place, item in enumerate(listed)
    }
    found |= {f"/{name}": document.get(name) for name in ("pre_launch_script", "bash_script")}
    return {
        pointer: codec.as_str(script, f"{WHAT}{pointer}")
        for pointer, script in found.items()
        if script is not None and script != ""
    }


def _first_duplicate(raw: bytes) -> str | None:
    """The first key that some object has twice, None when there is none or it is no JSON."""
    duplicates: list[str] = []

    def note(pairs: list[tuple[str, JsonValue]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                duplicates.append(key)
            seen.add(key)

    try:
        json.loads(raw.decode("utf-8"), object_pairs_hook=note)
    except (ValueError, RecursionError):
        return None
    return duplicates[0] if duplicates else None


class ComposePositions:
    """Where places of docker_compose_file stand in the raw manifest, whose string escapes them."""

    _ESCAPE: Final = pattern(r'\\(?:u[0-9a-fA-F]{4}|.)|[^\\"]', re.DOTALL)

    def __init__(self, raw: bytes) -> None:
        self._text = raw.decode("utf-8", "replace")
        self._lines: list[int] = []
        self._columns: dict[int, list[int]] = {}
        found = re.search(r'"docker_compose_file"\s*:\s*"', self._text)
        if found is None:
            return
        self._lines.append(found.end())
        position = found.end()
        while (match := self._ESCAPE.match(self._text, position)) is not None:
            position = match.end()
            if match[0] == "\\n" or (match[0] == "\\r" and not self._starts("\\n", position)):
                self._lines.append(position)

    def raw_place(self, line: int, column: int) -> tuple[int, int]:
        """Line and column of the manifest for those of the compose file; (0, 0) if not found."""
        if not 0 < line <= len(self._lines):
            return 0, 0
        position = self._column(line, column)
        start = self._text.rfind("\n", 0, position) + 1
        return self._text.count("\n", 0, position) + 1, position - start + 1

    def _column(self, line: int, column: int) -> int:
        """The offset of a column; those of a line are kept, for a line may hold the whole file."""
        found = self._columns.setdefault(line, [self._lines[line - 1]])
        while len(found) < column:
            match = self._ESCAPE.match(self._text, found[-1])
            if match is None:
                break
            found.append(match.end())
        return found[min(column, len(found)) - 1]

    def _starts(self, text: str, position: int) -> bool:
        return self._text.startswith(text, position)
