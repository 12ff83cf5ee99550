"""Every rule of the catalogue, in the order in which they are documented.

`RULES` are asked of manifests, `BUILD_RULES` of Dockerfiles. DIF rules compare two manifests and
are not among them.
"""

from collections.abc import Mapping
from typing import Final

from verifier.manifest.rule import Rule, RuleText
from verifier.manifest.rules import img, kms, man, net, pls, plt, rtf, run, sec
from verifier.manifest.rules.bld import BuildRule, sources, steps
from verifier.manifest.rules.env import allowed, names
from verifier.manifest.rules.svc import privilege, services

_MODULES: Final = (
    *(man, img, names, allowed, pls, privilege, services, net, rtf, sec, kms, plt, run),
)
_ORDER: Final = ("MAN", "IMG", "ENV", "PLS", "SVC", "NET", "RTF", "SEC", "KMS", "PLT", "RUN")

RULES: Final[tuple[Rule, ...]] = tuple(
    sorted(
        (rule for module in _MODULES for rule in module.RULES),
        key=lambda rule: (_ORDER.index(rule.group), rule.id),
    )
)
BUILD_RULES: Final[tuple[BuildRule, ...]] = tuple(
    sorted((*sources.RULES, *steps.RULES), key=lambda rule: rule.id)
)
ALL_RULES: Final[tuple[RuleText, ...]] = (*RULES, *BUILD_RULES)
BY_ID: Final[Mapping[str, Rule]] = {rule.id: rule for rule in RULES}
TEXTS: Final[Mapping[str, RuleText]] = {rule.id: rule for rule in ALL_RULES}
