"""What stands between a compose file and one certain reading of it."""

from enum import StrEnum

from msgspec import Struct

from verifier.evidence.compose.compose_yaml import Node, Scalar
from verifier.evidence.compose.interpolation import parse_template


class Kind(StrEnum):
    """Why a part of the file has no certain meaning.

    refused     Docker Compose does not start the file
    unknown     no release of Compose that is known has such an attribute
    newer       Compose of some dstack releases does not know the attribute, and refuses the file
    unfollowed  the file asks for more work than is done for one
    """

    REFUSED = "refused"
    UNKNOWN = "unknown"
    NEWER = "newer"
    UNFOLLOWED = "unfollowed"


class Problem(Struct, frozen=True):
    """One of them, at its place.

    kind     why it has no certain meaning
    message  what is wrong
    path     the way from the root of the file
    line     where it stands, from 1
    column   where it stands, from 1
    names    the variables in what it is about: it holds while nobody sets them; () for none
    """

    kind: Kind
    message: str
    path: tuple[str, ...]
    line: int
    column: int
    names: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        """The service that it belongs to, "" outside of services."""
        return self.path[1] if len(self.path) > 1 and self.path[0] == "services" else ""


def refused(message: str, path: tuple[str, ...], node: Node) -> Problem:
    """A reason why Docker Compose does not start the file."""
    said = node.text if isinstance(node, Scalar) and "$" in node.text else ""
    names = tuple(variable.name for variable in parse_template(said).variables) if said else ()
    return Problem(Kind.REFUSED, message, path, node.line, node.column, names)
