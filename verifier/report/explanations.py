"""Checks, rules, families, policies and words explained, each from its own text."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from verifier.checks.catalogue import CHECKS
from verifier.checks.engine import CheckSpec
from verifier.manifest.diff.change import RULES as _COMPARING
from verifier.manifest.rule import Need, RuleText
from verifier.manifest.rules.catalogue import ALL_RULES, TEXTS
from verifier.policy.policy import BUILT_IN, load_policy
from verifier.report.audit.families import FAMILIES
from verifier.report.rule_docs import GROUPS
from verifier.report.words import GLOSSARY

_DIFF_RULES: Final = {rule.id: rule for rule in _COMPARING}
_ROW: Final = 10
_LIST: Final = 28  # column of the titles in a list of ids


class Explanation(Struct, frozen=True):
    """A title, and rows of a label ("" for a paragraph) and a text; `column` is how wide labels
    are. All of it is the project's own text."""

    title: str
    rows: tuple[tuple[str, str], ...]
    column: int = _ROW


def names() -> tuple[str, ...]:
    """Everything that can be explained."""
    return (
        *(spec.id for spec in CHECKS),
        *(family.key for family in FAMILIES),
        *TEXTS,
        *_DIFF_RULES,
        *GROUPS,
        *BUILT_IN,
        *GLOSSARY,
    )


def explanations(name: str) -> tuple[Explanation, ...]:
    """Everything that a name means, whatever its case; () where it is the name of nothing."""
    wanted = {name.casefold(), name.casefold().replace("_", " ")}
    known = dict.fromkeys(item for item in names() if item.casefold() in wanted)
    makers = (_check, _family, _rule, _diff_rule, _group, _policy, _word)
    found = (made for item in known for make in makers if (made := make(item)))
    return tuple(dict.fromkeys(found))


def index() -> Explanation:
    """A short list of everything that can be explained."""
    rows = [
        *(("checks", f"{family.key}: {ids}") for family in FAMILIES if (ids := _ids(family.key))),
        *(("rules", f"{group}: {title}") for group, title in GROUPS.items()),
        ("", f"{', '.join(_DIFF_RULES)}: what `verify diff` finds"),
        ("policies", ", ".join(BUILT_IN)),
        ("words", ", ".join(GLOSSARY)),
    ]
    return Explanation("verify explain NAME, with one of these names:", tuple(rows))


def _ids(family: str) -> str:
    return ", ".join(spec.id for spec in CHECKS if spec.id.startswith(f"{family}."))


def _check(name: str) -> Explanation | None:
    spec = next((spec for spec in CHECKS if spec.id == name), None)
    return None if spec is None else Explanation(f"{spec.id}: {spec.title}", tuple(_said(spec)))


def _said(spec: CheckSpec) -> Iterator[tuple[str, str]]:
    yield "", " ".join(spec.explanation.split())
    yield "rests on", ", ".join(spec.requires) or "nothing else"
    asked = (f"{name} {load_policy(name).requirement(spec.id).value}" for name in BUILT_IN)
    yield "asked by", ", ".join(asked)


def _family(name: str) -> Explanation | None:
    family = next((item for item in FAMILIES if item.key == name), None)
    if family is None:
        return None
    rows = tuple((spec.id, spec.title) for spec in CHECKS if spec.id.startswith(f"{name}."))
    title = f"{family.title}: {family.about}"
    return Explanation(title, rows or (("", "No check of this version decides it."),), _LIST)


def _rule(name: str) -> Explanation | None:
    rule = TEXTS.get(name)
    return None if rule is None else Explanation(f"{rule.id}: {rule.title}", tuple(_text(rule)))


def _text(rule: RuleText) -> Iterator[tuple[str, str]]:
    yield "severity", f"{rule.severity}{', worse where the image can change' * rule.escalates}"
    yield "finds", rule.what
    yield "why", rule.why
    yield "fix", rule.fix
    yield "needs", "; ".join(Need(need).value for need in rule.needs) or "nothing else"
    yield "source", rule.source


def _diff_rule(name: str) -> Explanation | None:
    rule = _DIFF_RULES.get(name)
    if rule is None:
        return None
    rows = (("why", rule.why), ("fix", rule.fix), ("source", rule.source))
    return Explanation(f"{rule.id}: {rule.title}", (("finds", rule.what), *rows))


def _group(name: str) -> Explanation | None:
    if name not in GROUPS:
        return None
    rows = ((f"{rule.id} {rule.severity}", rule.title) for rule in ALL_RULES if rule.group == name)
    return Explanation(f"{name}: {GROUPS[name]}", tuple(rows), 18)


def _policy(name: str) -> Explanation | None:
    if name not in BUILT_IN:
        return None
    policy = load_policy(name)
    rows = tuple((spec.id, policy.requirement(spec.id).value) for spec in CHECKS)
    more = ("", f"`verify policy explain {name}` says what it demands of each.")
    return Explanation(f"{name}: what this policy asks of each check", (*rows, more), _LIST)


def _word(name: str) -> Explanation | None:
    meaning = GLOSSARY.get(name, "")
    if not meaning:
        return None
    return Explanation(name, (("", f"{meaning[:1].upper()}{meaning[1:]}."),))
