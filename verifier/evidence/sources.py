"""What can be reached from here: one question to each source of evidence, and what came of it."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.errors import Cause
from verifier.model.chain import OPERATORS


class Purpose(StrEnum):
    """What a source is asked for, in words."""

    COLLATERAL = "Intel's collateral"
    GUESTS = "guests, behind gateways"
    KMS = "key management services"
    CHAIN = "contracts and their history"
    LOGS = "further sources of chains, where fewer than two operators answer"
    IMAGES = "images, and who built them"
    ENDPOINT = "who may certify an endpoint's name"
    HINTS = "custom domains, and the cloud's account"
    RELEASES = "releases of the OS"
    SAFES = "what signers of Safes are about to do"


class Sounding(Struct, frozen=True, kw_only=True):
    """One source, and whether it answers from here as it should.

    purpose   what it is asked for
    place     its host
    operator  who runs it, or its host where that is not known
    group     what the operator is one of several for, such as a chain; "" for nothing
    said      what came instead of a good answer; "" for a good one
    cause     why nothing came; `OTHER` also where something did
    """

    purpose: Purpose
    place: str
    operator: str
    group: str = ""
    said: str = ""
    cause: Cause = Cause.OTHER

    @property
    def works(self) -> bool:
        """Whether it answers as it should."""
        return not self.said


class Outlook(StrEnum):
    """What an audit from here can rest on."""

    ALL = "every source answers"
    ENOUGH = "an audit can be made"
    TOO_FEW = "an audit cannot be made"
    NO_NETWORK = "no source answers"


_UNREACHED: Final = frozenset({Cause.NO_ADDRESS, Cause.UNREACHABLE, Cause.TOO_SLOW})
_ALL_OF_THEM: Final = frozenset({Purpose.COLLATERAL})
_ONE_OF_THEM: Final = frozenset({Purpose.GUESTS, Purpose.CHAIN})


def outlook(soundings: Iterable[Sounding]) -> Outlook:
    """What these sources allow. An audit needs all of the collateral, a gateway, and an endpoint
    of some chain; without the others, some checks lack evidence."""
    found = tuple(soundings)
    if found and all(not item.works and item.cause in _UNREACHED for item in found):
        return Outlook.NO_NETWORK
    if all(item.works for item in found):
        return Outlook.ALL
    for purpose in (*_ALL_OF_THEM, *_ONE_OF_THEM):
        answers = [item.works for item in found if item.purpose is purpose]
        if not (all(answers) if purpose in _ALL_OF_THEM else any(answers)):
            return Outlook.TOO_FEW
    return Outlook.ENOUGH


def short_of_operators(soundings: Iterable[Sounding]) -> tuple[str, ...]:
    """The chains of which fewer operators answer than have to agree."""
    found = [item for item in soundings if item.purpose is Purpose.CHAIN]
    working = {
        group: {item.operator for item in found if item.group == group and item.works}
        for group in sorted({item.group for item in found})
    }
    return tuple(group for group, names in working.items() if len(names) < OPERATORS)
