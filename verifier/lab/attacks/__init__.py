"""The catalogue of attacks: forged worlds and forged evidence, and the check that refuses each.

`verify demo` shows one honest world; the tests audit every row of this catalogue and its twin.
"""

from typing import Final

from verifier.lab.attacks import (
    application,
    endpoint,
    governance,
    gpu,
    guest,
    hardware,
    history,
    host,
    images,
    instances,
    key_holder,
    pending,
    snp,
    versions,
)
from verifier.lab.attacks.attack import Attack

__all__ = ["ATTACKS", "Attack", "render_attacks"]

ATTACKS: Final = (
    *hardware.quote(),
    *hardware.platform(),
    *host.attacks(),
    *gpu.attacks(),
    *snp.attacks(),
    *guest.boot(),
    *guest.runtime(),
    *application.application(),
    *application.consistency(),
    *instances.instances(),
    *governance.key_management(),
    *key_holder.certificate(),
    *key_holder.guest(),
    *key_holder.code(),
    *key_holder.answering(),
    *governance.authorization(),
    *history.past(),
    *history.governed(),
    *versions.versions(),
    *pending.attacks(),
    *pending.of_safes(),
    *images.images(),
    *endpoint.endpoint(),
)


def render_attacks() -> str:
    """The catalogue as a Markdown page."""
    rows = [
        f'| <a id="{attack.name}"></a>`{attack.name}` | {attack.title} | {_words(attack)} |'
        for attack in ATTACKS
    ]
    head = (
        "# Attacks\n\n"
        "What an attacker may try, and the check that notices. Every row is a simulated world "
        "that the tests build and audit, each beside an honest twin that passes. *Refused* means "
        "that the named check fails or errs; nothing here is ever affirmed. "
        "`pytest tests/worlds/test_catalogue.py -k NAME` carries one out, and its twin; where "
        "files alone show it, its vector is `fixtures/vectors/LINK/NAME_fail` "
        "([conformance](conformance.md)). Generated from `verifier/lab/attacks/`.\n\n"
        "| Attack | The attacker … | Refused by |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _words(attack: Attack) -> str:
    checks = ", ".join(
        f"[`{name}`](checks.md#{name.replace('.', '')})" for name in attack.refused_by
    )
    if attack.outcome == "refused":
        return checks
    return f"{checks} ({attack.outcome}: {attack.why})"
