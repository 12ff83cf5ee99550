"""Attacks by one instance of an app that has several: the others are honest."""

from collections.abc import Iterator
from functools import cache
from typing import Final

from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import PASSED_THROUGH, Attack, missing, refused
from verifier.lab.knobs import Knobs
from verifier.lab.response import NOT_FOUND, Response
from verifier.lab.world import GATEWAY_BASE, build


def _turns(call: int) -> int:
    return call % 3


def _seldom(call: int) -> int:
    return int(call % 7 == 6)  # noqa: PLR2004 - one in seven


def _never(_: int) -> int:
    return 0


THREE: Final = Knobs(others=(Knobs(), Knobs()), spread=_turns)
"""An app of three equal instances, to which its gateway leads in turn."""
PAIR: Final = Knobs(others=(Knobs(),), spread=_never)
"""An app of two, to the second of which its gateway never leads by the app's id."""
DEVELOPMENT: Final = Knobs(os_image="development")


def renamed(manifest: JsonObject) -> JsonObject:
    """Another manifest: it lets the operator set a variable."""
    return {**manifest, "allowed_envs": ["UPSTREAM"]}


OTHER: Final = Knobs(edit_manifest=renamed, compose_hash_on_chain="never")
ONE_OTHER: Final = Knobs(others=(Knobs(), OTHER), spread=_turns)
"""An app of three, one of which runs a manifest that the contract does not allow."""


def instances() -> Iterator[Attack]:
    """One bad instance among good ones, and instances that are not what they are called."""
    check, twin = "authorization.allowed", {"twin": THREE}
    title = "runs one of three instances, which have one signing key, with another manifest"
    yield refused("instance-of-another-manifest", check, title, ONE_OTHER, **twin)
    title = "lets its instance on a development image answer one connection in seven"
    knobs = Knobs(others=(DEVELOPMENT,), spread=_seldom)
    yield refused("instance-hides", "boot.image", title, knobs, **twin)
    named = {"twin": PAIR, "instances": (0, 1)}
    title = "leads no connection to its instance on a development image, which somebody names"
    knobs = Knobs(others=(DEVELOPMENT,), spread=_never)
    yield refused("instance-hidden-and-named", "boot.image", title, knobs, **named)
    title = (
        "lets its instance on a development image end one connection in seven, and hides it else"
    )
    knobs = Knobs(others=(DEVELOPMENT,), spread=_never, spread_tls=_seldom)
    met = Knobs(others=(Knobs(),), spread=_never, spread_tls=_seldom)
    yield refused("instance-hides-from-auditors", "boot.image", title, knobs, twin=met,
                  endpoint=PASSED_THROUGH)  # fmt: skip
    check = "application.identity"
    title = "passes another app off as an instance, by its id"
    knobs = Knobs(others=(Knobs(guest_app_id=forge.OTHER_APP),), spread=_never)
    yield refused("instance-of-another-app", check, title, knobs, **named)
    check = "hardware.quote"
    title = "takes away an instance that somebody names"
    why = "an instance that is not met is not audited; that it runs, nobody knows"
    yield missing("instance-absent", check, title, _at_second(None), why, **named)
    title = "answers with its good instance at the address of another one that somebody names"
    why = "the good one is audited under its own id; of the one that was named, there is nothing"
    yield missing("instance-answers-for-another", check, title, _at_second(0), why, **named)


@cache
def _ids() -> tuple[str, ...]:
    return build(PAIR).instance_ids


def _at_second(place: int | None) -> Knobs:
    """A pair, at the address of whose second instance the one at a place answers, or nobody."""
    good = build(PAIR).guests

    def edit(_method: str, url: str, _body: bytes, response: Response) -> Response:
        host, _, path = url.removeprefix("https://").partition("/")
        if host != f"{_ids()[1]}-8090.{GATEWAY_BASE}":
            return response
        return NOT_FOUND if place is None else good[place].respond(f"/{path.partition('?')[0]}", {})

    return Knobs(others=PAIR.others, spread=PAIR.spread, edit_response=edit)
