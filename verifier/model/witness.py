"""What an auditor's own log says that it saw of an app."""

from msgspec import Struct

from verifier.model.result import Basis


class Witnessed(Struct, frozen=True, kw_only=True):
    """A time during which every look at one guest found the same manifest, by verified quotes.

    What ran between two looks is not known.

    compose_hash  the manifest, sha256 in hex
    instance      the guest's instance id, hex; "" for a guest that has none
    release       the operating system's release; "" where it was not recognised
    first         the first look, Unix seconds
    last          the last look, Unix seconds
    looks         how many there were
    entries       the first and the last of them in the log, from 0
    """

    compose_hash: str
    instance: str
    release: str
    first: int
    last: int
    looks: int
    entries: tuple[int, int]


class Unanswered(Struct, frozen=True):
    """Looks in a row that no guest answered: the first and the last (Unix seconds), and how
    many."""

    first: int
    last: int
    looks: int


class WitnessHistory(Struct, frozen=True, kw_only=True):
    """What a whole log says of one app.

    app_id      the app id, hex
    log         the log's verifier key, NAME+HASH+KEY
    size        how many entries its checkpoint is about
    root        the root over them, hex
    basis       `witness` where the reader of this named the log's key, else `asserted`
    periods     what was seen, by time
    unanswered  when nothing answered, by time
    """

    app_id: str
    log: str
    size: int
    root: str
    basis: Basis
    periods: tuple[Witnessed, ...]
    unanswered: tuple[Unanswered, ...] = ()
