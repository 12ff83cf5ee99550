"""Attacks on who wants his app on machines that he, or somebody whom he believes, knows."""

from collections.abc import Callable, Iterator
from typing import Final

from verifier.evidence.bundle import Kind
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import HONEST, Attack, missing, refused
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.place import ppid_of, public_key, statement
from verifier.lab.world import World, build

CHECK: Final = "hardware.host"
_SIGNED: Final = (
    f'[platform]\nproof_of_cloud = "signed"\nproof_of_cloud_keys = ["{public_key()}"]\n'
)


def policy() -> str:
    """A policy that names the honest world's machine, and who says where it stands (TOML)."""
    return f'{_SIGNED}ppid = ["{ppid_of(build(HONEST)).hex()}"]\n'


def honest(world: World) -> forge.HandedOver:
    """The statement about the machine that the app runs on."""
    return ((Kind.PLACE, statement(world)),)


def _stated(**changes: object) -> Callable[[World], forge.HandedOver]:
    return lambda world: ((Kind.PLACE, statement(world, **changes)),)  # type: ignore[arg-type]


def attacks() -> Iterator[Attack]:
    """Machines that nobody knows, and statements that are about others."""
    named = f'[platform]\nppid = ["{ppid_of(build(HONEST)).hex()}"]\n'
    title = "runs the app on a genuine machine of its own, which the policy does not name"
    yield refused("machine-not-named", CHECK, title, Knobs(platform="platform-2"), policy=named)
    elsewhere, other = b"\x5e" * 16, b"\x5f" * 5000
    for name, title, given, why in (
        (
            "place-of-another-machine",
            "shows a signed statement about another machine, which stands in a data centre",
            _stated(ppid=elsewhere, quote=other),
            "it says nothing of this machine, and nothing against it",
        ),
        (
            "place-forged",
            "signs with a key of its own that its machine stands in a data centre",
            _stated(signer="attacker's key"),
            "anybody can sign; the policy names whom it believes",
        ),
        (
            "place-long-ago",
            "shows a statement from before it took the machine home",
            _stated(age=31 * DAY),
            "a machine can be moved; what was true once says nothing of today",
        ),
        (
            "place-expired",
            "shows a statement that has ended",
            _stated(exp=HONEST.now - 1),
            "its signer stood by it until then",
        ),
    ):
        yield missing(name, CHECK, title, HONEST, why, policy=_SIGNED, handed_over=given,
                      twin_handed_over=honest)  # fmt: skip
    title = "says nothing of where its machine stands"
    why = "most machines are on nobody's list"
    yield missing("place-unspoken", CHECK, title, HONEST, why, policy=_SIGNED,
                  twin_handed_over=honest)  # fmt: skip
