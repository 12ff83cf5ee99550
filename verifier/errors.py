"""What can go wrong, by cause.

    VerifierError
      CollectError         evidence could not be obtained
        NetworkError       the server did not answer, or answered with an error
        NotFoundError      the server says that it has no such thing
        LimitError         a size, time or redirect limit stopped the transfer
      EvidenceError        evidence was obtained and is malformed
      MissingEvidence      evidence was not obtained, or nobody vouches for it
      Blocked              evidence was obtained and did not prove genuine
      UsageError           an option, an argument or a file that the user named is not as it must be
        PolicyError        the appraisal policy, or an option that feeds it, is malformed

A negative finding about well-formed evidence is a check result, never an exception.
"""

from collections.abc import Iterable
from enum import StrEnum


class VerifierError(Exception):
    """Base of every error raised on purpose.

    `message` says what happened and in which evidence; `hint` says what to do next.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Cause(StrEnum):
    """Why a source gave nothing, as far as what to do next differs. The value is stable: it is
    written into bundles."""

    OTHER = ""
    NO_ADDRESS = "no-address"
    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted-certificate"
    NO_TLS = "no-tls"
    TOO_SLOW = "too-slow"
    TOO_LARGE = "too-large"
    THROTTLED = "throttled"
    FAILING = "failing"
    DENIED = "denied"
    NOT_FOUND = "not-found"
    ELSEWHERE = "elsewhere"
    GARBLED = "garbled"
    NOT_PUBLIC = "not-public"


class CollectError(VerifierError):
    """Evidence could not be obtained; `cause` says why, as far as what to do next depends on it."""

    def __init__(self, message: str, *, hint: str = "", cause: Cause = Cause.OTHER) -> None:
        super().__init__(message, hint=hint)
        self.cause = cause


class NetworkError(CollectError):
    """The server did not answer, or answered with an error."""


class NotFoundError(CollectError):
    """The server says that it has no such thing."""


class LimitError(CollectError):
    """A size, time, address or redirect limit stopped the transfer."""


class EvidenceError(VerifierError):
    """Evidence is malformed: its bytes do not have the form that its kind requires."""


class MissingEvidence(VerifierError):
    """What is needed was not collected, or nobody vouches for it."""


class Blocked(VerifierError):
    """What is needed did not prove genuine; `message` is the id of the check that says so."""


class UsageError(VerifierError):
    """An option, an argument or a file that the user named is not as it must be."""


class PolicyError(UsageError):
    """The appraisal policy, or an option that feeds it, is malformed or below the floor."""


def nearest(text: str, known: Iterable[str]) -> str:
    """The known name that is most like a text, whatever its case; "" where none is like it."""
    import difflib  # noqa: PLC0415 - only for what was mistyped

    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(text.casefold(), sorted(by_folded), n=1)
    return by_folded[found[0]] if found else ""


def did_you_mean(text: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint that names the known name nearest to a text, or another hint where none is near."""
    near = nearest(text, known)
    return f"did you mean {near}?" if near else otherwise
