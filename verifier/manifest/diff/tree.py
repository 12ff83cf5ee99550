"""Compose trees as plain values: what is compared, without where it stands."""

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar
from verifier.manifest.model import COMPOSE_POINTER, Manifest
from verifier.model.result import JsonValue


def plain(node: Node | None) -> JsonValue:
    """The JSON of a node; None for an absent or null one.

    Numbers and booleans stay apart from the strings that spell the same.
    """
    if node is None:
        return None
    if isinstance(node, Scalar):
        return _scalar(node)
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.entries.items()}
    return [plain(item) for item in node.items]


def _scalar(node: Scalar) -> JsonValue:
    match node.kind:
        case "null":
            return None
        case "bool":
            return node.text.lower() == "true"
        case "int" | "float":
            return {"number": node.text}
    return node.text


def text_of(node: Node | None) -> JsonValue:
    """The same for readers: numbers as they are written."""
    if isinstance(node, Scalar):
        return None if node.kind == "null" else node.text
    if isinstance(node, Mapping):
        return {key: text_of(value) for key, value in node.entries.items()}
    return None if node is None else [text_of(item) for item in node.items]


def pointer_to(*path: str) -> str:
    """The RFC 6901 pointer of a place in the compose file."""
    parts = (part.replace("~", "~0").replace("/", "~1") for part in path)
    return "/".join((COMPOSE_POINTER, *parts))


def operator_inputs(manifest: Manifest) -> dict[tuple[str, ...], set[str]]:
    """The names that the operator sets, by the service field or the top-level entry whose text
    they become part of. What `environment` reads is left out."""
    found: dict[tuple[str, ...], set[str]] = {}
    for text in manifest.texts:
        key = text.path[:3] if text.path[0] == "services" else text.path[:2]
        if text.variables and text.field not in {"environment", "image"}:
            found.setdefault(key, set()).update(manifest.operator_names(*text.variables))
    return found
