"""Attacks on who wants no version that is older than a day of his own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from verifier.lab import forgeries as forge
from verifier.lab import keys
from verifier.lab.attacks.attack import HONEST, Attack, missing, refused
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms
from verifier.lab.history import EARLIER_COMPOSE_HASH
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.rpc import RpcFault
from verifier.lab.world import build

_GOVERNANCE: Final = "authorization.governance"
_OTHER: Final = keys.labelled("older version", 32)


def _since(days: int) -> str:
    """A policy in which no manifest may be from before so many days ago."""
    day = datetime.fromtimestamp(HONEST.now - days * DAY, UTC).date()
    return f"[manifest]\nnot_before = {day}\n"


def versions() -> Iterator[Attack]:
    """Versions from before the floor that the relying party set, and those without a date."""
    floor = {"policy": _since(30)}
    title = "runs a version from before the day that the policy sets"
    yield refused("version-too-old", _GOVERNANCE, title, Knobs(edit_chain=_long_ago), **floor)
    title = "keeps an older version allowed, to set the app back to it at any time"
    yield refused("version-kept", _GOVERNANCE, title, Knobs(edit_chain=_kept), **floor)
    title = "withdraws an older version and allows it anew, so that it looks young"
    yield refused("version-made-young", _GOVERNANCE, title, Knobs(edit_chain=_made_young), **floor)
    why = "what one operator leaves out, nobody sees: an older version may be allowed"
    title = "has one operator answer nothing, so that the other alone says which versions may start"
    knobs = Knobs(rpc_faults={"a": RpcFault.ERROR})
    yield missing("version-by-one-operator", _GOVERNANCE, title, knobs, why, **floor)
    why = "a KMS without a contract lets its operator start any version; none has a date"
    title = "gets its keys from a KMS without a contract, so that no version has a date"
    yield missing("version-without-log", _GOVERNANCE, title, Knobs(kms="hosted"), why, **floor)


def _long_ago(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    app.add_compose_hash(forge.days_ago(chain, 40), build(HONEST).guest.compose_hash)


def _kept(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    app.add_compose_hash(forge.days_ago(chain, 40), _OTHER)


def _made_young(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    app.add_compose_hash(forge.days_ago(chain, 4), EARLIER_COMPOSE_HASH)
    app.remove_compose_hash(forge.days_ago(chain, 3), EARLIER_COMPOSE_HASH)
    app.add_compose_hash(forge.days_ago(chain, 2), EARLIER_COMPOSE_HASH)
