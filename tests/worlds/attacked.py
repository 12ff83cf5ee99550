"""Attacks of the catalogue, carried out: the forged world is collected, and audited."""

from functools import cache
from typing import Final

from tests.worlds.audited import Audited, audit
from verifier.lab.attacks import Attack, gpu
from verifier.lab.attacks.attack import HONEST

_SHARED: Final = (HONEST, gpu.WITH_GPUS)
"""Worlds in which attackers do no more than to hand over evidence: each is collected once."""


@cache
def _shared(place: int) -> Audited:
    return audit(_SHARED[place])


def _asked(attack: Attack) -> Audited:
    """The world of an attack, collected and audited before anything is handed over."""
    plain = not (attack.challenge or attack.denied or attack.reference or attack.endpoint)
    plain = plain and not attack.instances
    if plain and attack.knobs in _SHARED:
        return _shared(_SHARED.index(attack.knobs))
    return audit(
        attack.knobs,
        challenge=attack.challenge,
        challenge_url=attack.challenge_url,
        denied=attack.denied,
        reference=attack.reference,
        endpoint=attack.endpoint,
        instances=attack.instances,
    )


def carry_out(attack: Attack) -> Audited:
    """The audit of an attack, with all that belongs to it."""
    audited = _asked(attack)
    if attack.handed_over is not None:
        audited = audited.handing_over(attack.handed_over(audited.world))
    if attack.edit_artifact is not None:
        audited = audited.editing(attack.edit_artifact)
    if attack.second_opinion:
        audited = audited.again(second_opinion=True)
    if attack.governance:
        audited = audited.demanding(attack.governance)
    if attack.policy:
        audited = audited.under(attack.policy)
    return audited.expecting(attack.expected_images) if attack.expected_images else audited
