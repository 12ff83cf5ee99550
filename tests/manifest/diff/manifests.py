"""Manifests made for comparisons."""

import json
from typing import Any

from verifier.manifest.diff import Change, Comparison, Document, compare, read_document

D1, D2 = (f"sha256:{digit * 8}{'0123456789abcdef' * 3}{digit * 8}" for digit in "3a")

COMPOSE = f"""services:
  app:
    image: acme/app:1.0.0@{D1}
    environment:
      - LEVEL=info
      - API_URL=https://api.acme.example
    ports:
      - "8080:8080"
    volumes:
      - data:/data
volumes:
  data: {{}}
"""


def manifest(**fields: Any) -> dict[str, Any]:
    """A small manifest; a field given as None is left out."""
    document = {
        "manifest_version": 2,
        "name": "app",
        "runner": "docker-compose",
        "docker_compose_file": COMPOSE,
        "kms_enabled": True,
        "gateway_enabled": True,
        "allowed_envs": [],
        "public_tcbinfo": True,
        "secure_time": True,
    } | fields
    return {name: value for name, value in document.items() if value is not None}


def document(fields: dict[str, Any], name: str = "m") -> Document:
    """The document of a manifest's fields."""
    return read_document(name, json.dumps(manifest(**fields)).encode())


def difference(old: dict[str, Any], new: dict[str, Any]) -> Comparison:
    """The comparison of two manifests by their fields."""
    return compare(document(old, "old"), document(new, "new"))


def composes(old: str, new: str, **fields: Any) -> Comparison:
    """The comparison of two compose files in the same manifest."""
    return difference(
        {"docker_compose_file": old, **fields}, {"docker_compose_file": new, **fields}
    )


def at(comparison: Comparison, pointer: str) -> Change:
    """The one change at a place, before what is gone from it; the compose file's pointer may be
    left out."""
    full = {pointer, f"/docker_compose_file{pointer}"}
    found = [item for item in comparison.changes if item.pointer in full]
    (change,) = [item for item in found if item.after is not None] or found
    return change


def verdict(change: Change) -> tuple[str, str]:
    """Rule and severity."""
    return change.rule, change.severity.value
