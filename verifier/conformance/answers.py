"""A verifier's answers as JSON, written and read again to go on with an interrupted run."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from verifier.conformance.corpus import Vector
from verifier.conformance.judge import Answered, Said
from verifier.errors import EvidenceError, UsageError
from verifier.evidence import codec
from verifier.model.result import JsonValue

SCHEMA: Final = "verify/conformance-v1"
_WHAT: Final = "earlier answers"


def document(command: str, answers: Iterable[Answered]) -> str:
    """Every answer, with the command that gave it."""
    rows = [
        {
            "link": item.vector.link,
            "name": item.vector.name,
            "digest": item.vector.digest(),
            "expected": item.vector.expected,
            "said": item.said.value,
            "right": item.right,
            "problem": item.problem,
        }
        for item in answers
    ]
    return json.dumps({"schema": SCHEMA, "command": command, "answers": rows}, indent=2) + "\n"


def earlier(raw: bytes, command: str, vectors: Iterable[Vector]) -> Mapping[Vector, Answered]:
    """What a run of the same command was told of these very vectors.

    A vector that changed since is not among them. Raises UsageError for answers of another command,
    and for what is no such document.
    """
    try:
        asked, found = _read(raw)
    except EvidenceError as error:
        hint = "--resume takes what `verify conformance --json -o FILE` wrote"
        raise UsageError(error.message, hint=hint) from error
    if asked != command:
        raise UsageError(
            f"the earlier answers are those of {asked!a}, not of {command!a}",
            hint="go on with the same --command and version, or leave out --resume",
        )
    digests = ((item, item.digest()) for item in vectors)
    return {item: Answered(item, *found[digest]) for item, digest in digests if digest in found}


def _read(raw: bytes) -> tuple[str, dict[str, tuple[Said, str]]]:
    told = codec.parse_json_object(raw, _WHAT)
    schema = codec.text_field(told, "schema", _WHAT)
    if schema != SCHEMA:
        raise EvidenceError(f"{_WHAT}: schema {schema!a}, not {SCHEMA}")
    rows = codec.as_list(told.get("answers"), _WHAT)
    return codec.text_field(told, "command", _WHAT), dict(_row(row) for row in rows)


def _row(row: JsonValue) -> tuple[str, tuple[Said, str]]:
    held = codec.as_object(row, _WHAT)
    digest, said, problem = (
        codec.text_field(held, name, _WHAT) for name in ("digest", "said", "problem")
    )
    try:
        return digest, (Said(said), problem)
    except ValueError as error:
        raise EvidenceError(f"{_WHAT}: {said[:40]!a} is no answer") from error
