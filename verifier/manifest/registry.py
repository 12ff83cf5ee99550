"""Every rule of the catalogue, in the order in which they are documented.

DIF rules compare two manifests and are not among them.
"""

from collections.abc import Mapping
from typing import Final

from verifier.manifest import (
    rules_env,
    rules_env_set,
    rules_images,
    rules_kms,
    rules_network,
    rules_privilege,
    rules_runtime,
    rules_scripts,
    rules_secrets,
    rules_services,
    rules_shape,
)
from verifier.manifest.rule import Rule

_ORDER: Final = ("MAN", "IMG", "ENV", "PLS", "SVC", "NET", "RTF", "SEC", "KMS", "PLT", "RUN")

RULES: Final[tuple[Rule, ...]] = tuple(
    sorted(
        (
            *rules_shape.RULES,
            *rules_images.RULES,
            *rules_env.RULES,
            *rules_env_set.RULES,
            *rules_scripts.RULES,
            *rules_privilege.RULES,
            *rules_services.RULES,
            *rules_network.RULES,
            *rules_runtime.RULES,
            *rules_secrets.RULES,
            *rules_kms.RULES,
        ),
        key=lambda rule: (_ORDER.index(rule.group), rule.id),
    )
)
BY_ID: Final[Mapping[str, Rule]] = {rule.id: rule for rule in RULES}
