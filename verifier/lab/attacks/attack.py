"""An attack: a forged world or forged evidence, and the check that refuses it.

An attack is refused when every check that it names says so: `fail` or `error`. Two other outcomes
are as good for whoever asks, since neither is accepted:

    missing   the evidence is not wrong, it proves nothing: the named check is a skip, never usable
    warned    the evidence is genuine, and worth less than it looks: the named check warns

The twin of an attack is the nearest honest world; in it the same checks do not say so.
"""

from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from verifier.evidence.bundle import Artifact
from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab.knobs import Knobs
from verifier.lab.world import GATEWAY_BASE, World
from verifier.model.result import Verdict

Outcome = Literal["refused", "missing", "warned"]
HONEST: Final = Knobs()
PASSED_THROUGH: Final = f"APP-443s.{GATEWAY_BASE}"
"""An address that the app's guest serves; APP stands for the app id."""

BY_GATEWAY: Final = f"APP-443.{GATEWAY_BASE}"
"""One of which the gateway ends the connections."""


class Attack(Struct, frozen=True, kw_only=True):
    """One forgery. `title` says what the attacker does; `refused_by` names checks.

    `knobs` make the forged world and `twin` the honest one, whose verdict is `twin_verdict`.
    `handed_over` is evidence that the attacker adds to what was collected; `denied` is a row that
    the relying party's deny list holds, `reference` its edit of the world's reference values;
    `challenge` is the report data that it asked for, `expected_images` ("NAME=DIGEST") are those
    that its policy expects, `governance` what it demands in [governance]. `edit_artifact` changes
    what was collected, in the evidence. `endpoint` is the address that is asked about, APP for the
    app id; of the twin, the same one, if `twin_endpoint` names no other. `second_opinion` has
    another reader read the chain's answers too. `why` says why an outcome is not `refused`.
    """

    name: str
    title: str
    refused_by: tuple[str, ...]
    knobs: Knobs
    outcome: Outcome = "refused"
    why: str = ""
    twin: Knobs = HONEST
    twin_verdict: Verdict = Verdict.AFFIRMING
    handed_over: Callable[[World], forge.HandedOver] | None = None
    twin_handed_over: Callable[[World], forge.HandedOver] | None = None
    denied: Callable[[World], JsonObject] | None = None
    reference: Callable[[JsonObject], JsonObject] | None = None
    challenge: bytes = b""
    expected_images: tuple[str, ...] = ()
    twin_expected_images: tuple[str, ...] = ()
    governance: str = ""
    edit_artifact: Callable[[Artifact, bytes], bytes] | None = None
    twin_edit_artifact: Callable[[Artifact, bytes], bytes] | None = None
    endpoint: str = ""
    twin_endpoint: str = ""
    second_opinion: bool = False


def refused(name: str, check_id: str, title: str, knobs: Knobs, **rest: object) -> Attack:
    """An attack that the named checks (space between ids) refuse; `rest` as `Attack` has it."""
    named = tuple(check_id.split())
    return Attack(name=name, title=title, refused_by=named, knobs=knobs, **rest)  # type: ignore[arg-type]


def missing(name: str, check_id: str, title: str, knobs: Knobs, why: str, **rest: object) -> Attack:
    """An attack that leaves the named checks without evidence; `why` says why none is enough."""
    attack = refused(name, check_id, title, knobs, **rest)
    return replace(attack, outcome="missing", why=why)


def warned(name: str, check_id: str, title: str, knobs: Knobs, why: str, **rest: object) -> Attack:
    """An attack about which the named checks warn; `why` says why the evidence is no forgery."""
    attack = refused(name, check_id, title, knobs, **rest)
    return replace(attack, outcome="warned", why=why)
