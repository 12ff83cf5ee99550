"""What a server wants before it answers: the `WWW-Authenticate` header (RFC 9110, 11.6.1).

    WWW-Authenticate = #challenge
    challenge        = scheme [ 1*SP ( token68 / #parameter ) ]
    parameter        = token BWS "=" BWS ( token / quoted-string )

The same comma parts challenges and the parameters of one challenge, several header lines are one
list, and empty elements count for nothing. Scheme and parameter names are case-insensitive.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from verifier.patterns import pattern

MAX_LENGTH: Final = 16_384
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_GAP: Final = pattern(r"[ \t,]*")
_PARAMETER: Final = pattern(
    rf"""({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t,"]+))""", re.ASCII | re.DOTALL
)
"""A value that is no quoted-string is read up to the next comma: real servers write URLs there,
whose colon and slash no token holds."""
_SCHEME: Final = pattern(rf"({_WORD})(?=[ \t,]|$)", re.ASCII)
_TOKEN68: Final = pattern(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)", re.ASCII)
_ESCAPED: Final = pattern(r"\\(.)", re.DOTALL)


class Challenge(Struct, frozen=True):
    """One challenge: its scheme, and its parameters by name, all names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = {}


def parse_challenges(lines: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of all header lines, in order. What is malformed ends the list; a parameter
    that is given twice keeps its first value. Nothing is raised."""
    text = ", ".join(lines)[:MAX_LENGTH]
    found: list[tuple[str, dict[str, str]]] = []
    place = 0
    while True:
        place = _end(_GAP.match(text, place), place)
        parameter = _PARAMETER.match(text, place) if found else None
        if parameter is not None:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
            found[-1][1].setdefault(name.lower(), value)
            place = parameter.end()
            continue
        scheme = _SCHEME.match(text, place)
        if scheme is None:
            return tuple(Challenge(name, parameters) for name, parameters in found)
        found.append((scheme[1].lower(), {}))
        place = _end(_TOKEN68.match(text, scheme.end()), scheme.end())


def _end(match: re.Match[str] | None, otherwise: int) -> int:
    return otherwise if match is None else match.end()
