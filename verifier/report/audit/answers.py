"""What a person asks first, and how much of it is proven.

The questions are a fixed, ordered list. Each is answered by the first of its claims that was made,
under what that claim is worth; every other claim stands only in the list of claims.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.model.report import SubjectReport
from verifier.model.result import Basis, CheckResult, Claim, JsonValue, Status
from verifier.patterns import pattern
from verifier.report.audit.families import Mark, mark


class Standing(StrEnum):
    """How much a claim is worth once its basis and its conditions are taken together."""

    PROVEN = "Proven"
    MATCHED = "Recognised"
    SAID = "Only said"
    NOT_KNOWN = "Not known"


_STANDING: Final = {
    Basis.HARDWARE: Standing.PROVEN,
    Basis.MEASURED: Standing.PROVEN,
    Basis.CHAIN: Standing.PROVEN,
    Basis.KMS: Standing.PROVEN,
    Basis.REFERENCE: Standing.MATCHED,
    Basis.WITNESS: Standing.MATCHED,
    Basis.ASSERTED: Standing.SAID,
    Basis.UNKNOWN: Standing.NOT_KNOWN,
}

SUPPORT: Final = {
    Basis.HARDWARE: "signed by the CPU, or by GPUs over its nonce",
    Basis.MEASURED: "measured into registers that the CPU signed",
    Basis.CHAIN: "contract state at a finalized block",
    Basis.KMS: "signed by the identified KMS",
    Basis.REFERENCE: "equal to a reference value of this auditor",
    Basis.WITNESS: "seen by this auditor before",
    Basis.ASSERTED: "the word of whoever served it, supported by nothing",
    Basis.UNKNOWN: "nothing supports it",
}

_WHY: Final = {
    Standing.PROVEN: "signed by the CPU or the KMS, measured, or finalized on chain",
    Standing.MATCHED: "equal to reference values of this auditor",
    Standing.SAID: "no signature, register or contract supports it",
}
_GPUS: Final = "GPUs"
_MACHINE: Final = "boot.machine"
_TABLES: Final = f"the tables that the host gave to the firmware are harmless ({_MACHINE})"
_HOLDING: Final = (Status.PASS, Status.WARN)
_SETTLED: Final = (Mark.PASS, Mark.WARN, Mark.NOT_APPLICABLE)
_SHOWN_DIGITS: Final = 16  # of a key's digest, which the list of claims has in full
_SHORT_DIGITS: Final = 12
"""Where a line of eighty cells holds more than the digits."""
_KEY: Final = pattern(r"[a-z0-9_]+", re.ASCII)
_PLAIN_VALUE: Final = pattern(r"[0-9A-Za-z._:/+-]+", re.ASCII)


class Statement(Struct, frozen=True):
    """Facts of one standing: why they have it, and a label and a value each."""

    standing: Standing
    why: str
    facts: tuple[tuple[str, str], ...] = ()


class _Question(Struct, frozen=True):
    """`answers` are names of claims, the best first, each with what puts its value into words.

    Without any, the question is open, unless `check` holds or does not apply; one that not every
    audit asks (`always`) is open only where the check was made.
    """

    label: str
    check: str
    answers: tuple[tuple[str, Callable[[JsonValue], str]], ...]
    always: bool = True

    def answer(self, claims: Iterable[Claim]) -> tuple[Claim, str] | None:
        """The claim that answers it, and its value in words."""
        answering = (item for item in claims if item.basis is not Basis.UNKNOWN or item.conditions)
        by_name = {claim.name: claim for claim in answering}
        for name, words in self.answers:
            if claim := by_name.get(name):
                return claim, words(claim.value)
        return None


def value_text(value: JsonValue) -> str:
    """A value as text that cannot be mistaken for the sentence around it.

    Plain words stand as they are; any other string is quoted, and structures are compact JSON.
    """
    if isinstance(value, str) and _PLAIN_VALUE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def value_words(value: JsonValue) -> str:
    """A value for people, on a row of its own: names and values of structures, in brackets where
    they are nested."""
    if isinstance(value, str):
        return value or '""'
    return _words(value, nested=False)


def _words(value: JsonValue, *, nested: bool) -> str:
    if isinstance(value, dict):
        listed = [f"{_name(key)} {_words(item, nested=True)}" for key, item in value.items()]
    elif isinstance(value, list):
        listed = [_words(item, nested=True) for item in value]
    else:
        return value_text(value)
    said = ", ".join(listed) or "none"
    return f"({said})" if nested and len(listed) > 1 else said


def _name(key: str) -> str:
    return key.replace("_", " ") if _KEY.fullmatch(key) else value_text(key)


def standing(claim: Claim, checks: Iterable[CheckResult]) -> Standing:
    """What a claim is worth: its basis counts only while every condition is pass or warn.

    What has no other support than somebody's word is only said, whatever its conditions.
    """
    support = _STANDING[claim.basis]
    if support is Standing.SAID or not _broken(claim, checks):
        return support
    return Standing.NOT_KNOWN


def statements(subject: SubjectReport) -> tuple[Statement, ...]:
    """The answers for one attester by what they are worth, strongest first.

    The first statement is always about what is proven, also when that is nothing.
    """
    facts: dict[Standing, list[tuple[str, str]]] = {}
    broken: dict[str, None] = {}
    for question in QUESTIONS:
        if found := question.answer(subject.claims):
            claim, words = found
            worth = standing(claim, subject.checks)
            facts.setdefault(worth, []).append((question.label, words))
            if worth is Standing.NOT_KNOWN:
                broken |= dict.fromkeys(_broken(claim, subject.checks))
    why = dict(_WHY)
    if _GPUS in dict(facts.get(Standing.PROVEN, ())):
        why[Standing.PROVEN] = why[Standing.PROVEN].replace("the CPU", "the CPU, its GPUs")
    if any(check.id == _MACHINE and check.status is not Status.PASS for check in subject.checks):
        why[Standing.PROVEN] += f", if {_TABLES}"
    unproven = f"unproven without {', '.join(broken)}" if broken else "unproven"
    rows = ", ".join(_unanswered(subject))
    both = f"{rows}; and, {unproven}:" if Standing.NOT_KNOWN in facts and rows else ""
    why[Standing.NOT_KNOWN] = both or rows or f"found in the evidence, but {unproven}"
    if Standing.PROVEN not in facts:
        why[Standing.PROVEN] = _nothing(subject)
    shown = {*facts, Standing.PROVEN, *([Standing.NOT_KNOWN] if rows else [])}
    return tuple(
        Statement(item, why[item], tuple(facts.get(item, ()))) for item in Standing if item in shown
    )


def _broken(claim: Claim, checks: Iterable[CheckResult]) -> tuple[str, ...]:
    holding = {check.id for check in checks if check.status in _HOLDING}
    return tuple(item for item in claim.conditions if item not in holding)


def _nothing(subject: SubjectReport) -> str:
    worth = {standing(claim, subject.checks) for claim in subject.claims}
    if worth & {Standing.PROVEN, Standing.MATCHED}:
        return "nothing of what matters most"
    rest = " Every fact below is the word of whoever served it." if Standing.SAID in worth else ""
    return f"NOTHING.{rest}"


def _unanswered(subject: SubjectReport) -> list[str]:
    settled = {check.id for check in subject.checks if mark(check) in _SETTLED}
    made = {check.id for check in subject.checks}
    return [
        question.label
        for question in QUESTIONS
        if (question.always or question.check in made)
        and question.check not in settled
        and question.answer(subject.claims) is None
    ]


def _tcb(value: JsonValue) -> str:
    return f"TDX, TCB status {value_text(value)}"


def _gpus(value: JsonValue) -> str:
    match value:
        case [{"architecture": _, "driver": _}, *_]:
            kinds = Counter(
                f"{value_text(item.get('architecture'))}, driver {value_text(item.get('driver'))}"
                for item in value
                if isinstance(item, dict)
            )
            return "; ".join(f"{count} {words}" for words, count in sorted(kinds.items()))
    return value_text(value)


def _image(value: JsonValue) -> str:
    match value:
        case {"release": str(release), "kind": str(kind), "origin": str(origin)}:
            name = value_text(release) if release else "no known release"
            return f"{name} ({value_text(kind)}, {value_text(origin)})"
    return value_text(value)


def _kms(value: JsonValue) -> str:
    match value:
        case {"name": name, "chain_id": chain_id, "contract": contract}:
            where = f"contract on chain {value_text(chain_id)}" if contract else "no contract"
            return f"KMS {value_text(name)}, {where}"
    return value_text(value)


def _kms_guest(value: JsonValue) -> str:
    match value:
        case [{"compose_hash": str(manifest), "os_image": release}, *others]:
            more = f", and {len(others)} more" if others else ""
            image = f"dstack {value_text(release)}" if release else "an OS image"
            digits = value_text(manifest[:_SHORT_DIGITS])
            return f"manifest {digits}… on {image}{more}"
    return value_text(value)


def _provider(value: JsonValue) -> str:
    match value:
        case {"name": name, "id": _}:
            return f"key provider {value_text(name)}"
    return value_text(value)


def _endpoint(value: JsonValue) -> str:
    match value:
        case {"endpoint": endpoint, "sha256": str(key), "held_by": holder}:
            held = f", held by the {value_text(holder)}" if holder else ""
            return f"key {value_text(key[:_SHOWN_DIGITS])}…{held}, at {value_text(endpoint)}"
    return value_text(value)


def _block(value: JsonValue) -> str:
    match value:
        case {"chain_id": chain_id, "number": number, "time": time, "single_source": single}:
            source = "" if single is False else ", from a single source"
            words = f"{value_text(number)} of chain {value_text(chain_id)}, {value_text(time)}"
            return words + source
    return value_text(value)


QUESTIONS: Final = (
    _Question("Hardware", "hardware.tcb", (("tcb_status", _tcb),)),
    _Question(_GPUS, "hardware.gpu", (("gpus", _gpus),), always=False),
    _Question("OS image", "boot.image", (("os_image", _image), ("operating_system", value_text))),
    _Question("App id", "application.identity", (("app_id", value_text),)),
    _Question("Manifest", "application.manifest", (("compose_hash", value_text),)),
    _Question(
        "Key holder", "key_management.provider", (("kms", _kms), ("key_provider", _provider))
    ),
    _Question("KMS root", "key_management.root", (("kms_root", value_text),)),
    _Question("KMS guest", "key_management.attestation", (("kms_guest", _kms_guest),)),
    _Question("Contract", "authorization.contract", (("app_contract", value_text),)),
    _Question("Owner", "authorization.contract", (("app_owner", value_text),)),
    _Question("Block", "authorization.allowed", (("block", _block),)),
    _Question("Endpoint", "endpoint.tls", (("endpoint_key", _endpoint),), always=False),
)
