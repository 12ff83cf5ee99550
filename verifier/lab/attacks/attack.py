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
    """One forgery.

    name                  its name in the list of attacks
    title                 what the attacker does
    refused_by            the checks that refuse it
    knobs                 the forged world
    outcome               what these checks say
    why                   why the outcome is not `refused`; "" where it is
    twin                  the honest world
    twin_verdict          the verdict of the honest world
    handed_over           evidence that the attacker adds to what was collected; None for none
    twin_handed_over      the same in the honest world
    denied                a row that the relying party's deny list holds; None for none
    reference             the relying party's edit of the world's reference values; None for none
    challenge             the report data that the relying party asked for; b"" for none
    challenge_url         where the app is asked to quote it; "" for nowhere
    expected_images       NAME=DIGEST of the images that its policy expects; () for none
    twin_expected_images  the same in the honest world
    governance            what its policy demands in [governance], TOML; "" for nothing
    policy                what its policy demands in any other section, TOML; "" for nothing
    edit_artifact         changes what was collected, in the evidence; None for nothing
    twin_edit_artifact    the same in the honest world
    endpoint              the address that is asked about, with APP for the app id; "" for none
    twin_endpoint         the same in the honest world; "" for the same address
    second_opinion        whether others have to read the chain's answers, and judge the quotes, too
    instances             the instances that the relying party names, by their place in the world;
                          () for none
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
    challenge_url: str = ""
    expected_images: tuple[str, ...] = ()
    twin_expected_images: tuple[str, ...] = ()
    governance: str = ""
    policy: str = ""
    edit_artifact: Callable[[Artifact, bytes], bytes] | None = None
    twin_edit_artifact: Callable[[Artifact, bytes], bytes] | None = None
    endpoint: str = ""
    twin_endpoint: str = ""
    second_opinion: bool = False
    instances: tuple[int, ...] = ()


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
