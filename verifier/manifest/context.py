"""What is known about an app besides its manifest."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Evidence that some rules need; what is empty or None is not known, and those rules say so.

    `compose_hash` is the measured one (64 hex digits). `os_kind` is `production`, `development` or
    `unknown`, by the registers; `os_version` is the release. `key_provider` and `key_provider_id`
    come from the measured event. `containers` are the names that the metadata page lists, with
    their states.
    """

    compose_hash: str = ""
    os_kind: str = ""
    os_version: str = ""
    key_provider: str = ""
    key_provider_id: str = ""
    containers: dict[str, str] | None = None
