"""DNS messages (RFC 1035) as resolvers give them over HTTPS (RFC 8484): CAA, TXT, CNAME.

An answer is read along the chain of aliases that starts at the name that was asked; records of any
other name are no part of it. Nothing is validated by DNSSEC here: what a resolver says is its word.

CAA (RFC 8659): the set that counts for a name is that of the closest ancestor that has any, the
name itself first; an alias is followed by the resolver, and never climbed. `issue` and `issuewild`
name a CA, and after it parameters such as `accounturi` (RFC 8657), which is compared whole.
"""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.patterns import pattern

MAX_BYTES: Final = 65_535
MAX_ALIASES: Final = 16
TYPES: Final = ("CAA", "TXT", "CNAME")
_NOERROR: Final = 0
_NXDOMAIN: Final = 3
_CRITICAL: Final = 128
_PARAMETER: Final = pattern(r"([A-Za-z0-9][A-Za-z0-9-]*)[ \t]*=[ \t]*([!-:<-~]*)", re.ASCII)


class Caa(Struct, frozen=True):
    """One property: its tag in lower case, its value as it stands, and whether a CA that does not
    know the tag must refuse."""

    tag: str
    value: str
    critical: bool

    @property
    def issuer(self) -> str:
        """The CA that an issue property names, in lower case; "" for none at all."""
        return self.value.partition(";")[0].strip(" \t").lower()

    @property
    def parameters(self) -> dict[str, str] | None:
        """The parameters of an issue property, names in lower case; None where they are malformed,
        or one stands twice, so that no CA may issue by it (RFC 8659, 4.2)."""
        found: dict[str, str] = {}
        rest = self.value.partition(";")[2]
        for part in filter(None, (item.strip(" \t") for item in rest.split(";"))):
            match = _PARAMETER.fullmatch(part)
            if match is None or match[1].lower() in found:
                return None
            found[match[1].lower()] = match[2]
        return found


class DnsAnswer(Struct, frozen=True):
    """What a resolver says of one name and type.

    Every set of records is sorted: their order means nothing.

    name     the name that was asked, in lower case
    kind     the type that was asked, such as `TXT`
    exists   False where the resolver says that there is no such name
    aliases  the chain of names from the one that was asked, that one first
    texts    the strings of each TXT record; () for none, and for another type
    caa      the CAA records; () for none, and for another type
    """

    name: str
    kind: str
    exists: bool
    aliases: tuple[str, ...]
    texts: tuple[tuple[bytes, ...], ...] = ()
    caa: tuple[Caa, ...] = ()


def encode_query(name: str, kind: str) -> bytes:
    """A query for a name, with the id 0 so that the same question is the same bytes. Raises
    EvidenceError for what is no name."""
    import dns.exception  # noqa: PLC0415 - only for an endpoint with a name
    import dns.message  # noqa: PLC0415

    try:
        return dns.message.make_query(name, kind, id=0).to_wire()
    except (dns.exception.DNSException, ValueError) as error:
        raise EvidenceError(f"{name!a} is no name that DNS can be asked for: {error}") from error


def parse_answer(raw: bytes, name: str, kind: str, what: str) -> DnsAnswer:
    """What an answer says of the name and type that were asked. Raises EvidenceError for a
    malformed, truncated or foreign one, and for one that says that the resolver failed."""
    import dns.exception  # noqa: PLC0415 - as above
    import dns.flags  # noqa: PLC0415
    import dns.message  # noqa: PLC0415

    if len(raw) > MAX_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes are no DNS message")
    try:
        message = dns.message.from_wire(raw, one_rr_per_rrset=True)
        code = message.rcode()
    except (dns.exception.DNSException, ValueError, IndexError, OverflowError) as error:
        raise EvidenceError(f"{what}: not a DNS message: {error!r}") from error
    if not message.flags & dns.flags.QR or message.flags & dns.flags.TC:
        raise EvidenceError(f"{what}: a query, or a truncated answer")
    if code not in (_NOERROR, _NXDOMAIN):
        raise EvidenceError(f"{what}: the resolver failed with code {code}")
    asked = [(_text(item.name), item.rdtype) for item in message.question]
    if asked != [(_plain(name), _number(kind))]:
        raise EvidenceError(f"{what}: it answers another question")
    return _read(message, _plain(name), kind, code == _NOERROR, what)


def _read(message: object, name: str, kind: str, exists: bool, what: str) -> DnsAnswer:  # noqa: FBT001
    records = [
        (_text(rrset.name), rrset.rdtype, record)
        for rrset in message.answer  # type: ignore[attr-defined]
        for record in rrset
    ]
    aliases = [name]
    targets: dict[str, set[str]] = {}
    for owner, number, record in records:
        if number == _number("CNAME"):
            targets.setdefault(owner, set()).add(_text(record.target))
    # A query for the alias itself is not followed; any other is.
    while aliases[-1] in targets and (kind != "CNAME" or len(aliases) == 1):
        found = targets[aliases[-1]]
        if len(found) > 1 or len(aliases) > MAX_ALIASES or found & set(aliases):
            raise EvidenceError(f"{what}: its aliases fork, go round, or are too many")
        aliases.append(min(found))
    own = [
        record
        for owner, number, record in records
        if owner == aliases[-1] and number == _number(kind)
    ]
    return DnsAnswer(
        name,
        kind,
        exists,
        tuple(aliases),
        texts=tuple(sorted(item.strings for item in own)) if kind == "TXT" else (),
        caa=tuple(sorted(map(_caa, own), key=repr)) if kind == "CAA" else (),
    )


def _caa(record: object) -> Caa:
    tag: bytes = record.tag  # type: ignore[attr-defined]
    value: bytes = record.value  # type: ignore[attr-defined]
    flags: int = record.flags  # type: ignore[attr-defined]
    return Caa(
        tag.decode("ascii", "backslashreplace").lower(),
        value.decode("ascii", "backslashreplace"),
        bool(flags & _CRITICAL),
    )


def _number(kind: str) -> int:
    import dns.rdatatype  # noqa: PLC0415 - as above

    return int(dns.rdatatype.from_text(kind))


def _text(name: object) -> str:
    return str(name).rstrip(".").lower()


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def ancestors(name: str) -> tuple[str, ...]:
    """The names whose CAA may count for a name: itself, and those above it except the root."""
    labels = _plain(name).split(".")
    return tuple(".".join(labels[place:]) for place in range(len(labels)))


def relevant_set(name: str, sets: Iterable[DnsAnswer]) -> tuple[Caa, ...] | None:
    """The CAA set that counts for a name (RFC 8659, 3): that of the closest ancestor that has any,
    () where none has; None where an answer on the way is missing."""
    known = {item.name: item.caa for item in sets if item.kind == "CAA"}
    for ancestor in ancestors(name):
        if ancestor not in known:
            return None
        if known[ancestor]:
            return known[ancestor]
    return ()


def issuers(records: tuple[Caa, ...], *, wildcard: bool) -> tuple[Caa, ...] | None:
    """The properties by which a CA may issue for a name, or for names by a wildcard (RFC 8659, 4.3:
    `issuewild` where there is any, else `issue`); None where nothing restricts it."""
    tags = [item.tag for item in records]
    tag = "issuewild" if wildcard and "issuewild" in tags else "issue"
    if tag not in tags:
        return None
    named = tuple(item for item in records if item.tag == tag)
    return tuple(item for item in named if item.issuer and item.parameters is not None)
