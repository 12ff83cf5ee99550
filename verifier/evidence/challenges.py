"""Where apps answer a challenge with a quote over it, and what the quote's report data then holds.

A guest agent takes no challenge from outside: its GetQuote is a socket in the guest. What is listed
here are the ways in which apps and self-hosted guests pass it on, each named. dstack-ingress is not
among them: it publishes one quote for all (`/evidences/`).
"""

from typing import Final

from msgspec import Struct

from verifier.errors import UsageError
from verifier.evidence.td.report_data import Binding

CHALLENGE: Final = "{challenge}"
"""What stands for the challenge (hex) in the address where an app answers one."""
_SESSION_PATH: Final = "/tdx_quote"
_HALF, _WHOLE = 32, 64
"""Bytes of one half of the report data, and of all."""


class ChallengeEndpoint(Struct, frozen=True, kw_only=True):
    """One way to ask.

    name     how it is called
    path     path and query, with `{challenge}` in them
    holds    what the report data of the answer holds
    source   who answers so
    sizes    how many bytes the challenge may have; () for any that fits
    padded   whether it is sent with zeros up to 64 bytes
    binding  the kind of `--bind` by which the report data follows from the challenge alone; ""
             where it holds the challenge itself
    session  whether the report data commits to the TLS session, too, by which it is asked: the
             challenge is posted then, as JSON {"nonce_hex"}
    """

    name: str
    path: str
    holds: str
    source: str
    sizes: tuple[int, ...] = ()
    padded: bool = False
    binding: str = ""
    session: bool = False

    def address(self, base: str, challenge: bytes) -> str:
        """Where to ask, below the app's own address. Raises UsageError for a challenge that the
        endpoint does not take."""
        if self.sizes and len(challenge) not in self.sizes:
            raise UsageError(
                f"--challenge-url {self.name}= takes a challenge of "
                f"{' or '.join(map(str, self.sizes))} bytes, not {len(challenge)}",
                hint="choose one: openssl rand -hex 32",
            )
        sent = challenge.ljust(_WHOLE, b"\0") if self.padded else challenge
        return base.rstrip("/") + self.path.replace(CHALLENGE, sent.hex())

    def bindings(self, challenge: bytes) -> tuple[Binding, ...]:
        """What the report data then commits to, by the convention of this endpoint."""
        return (Binding(self.binding, (challenge,)),) if self.binding else ()


_NONCE_LAST: Final = (
    "a signing address or a digest of it and of the TLS certificate || the challenge: name the "
    "first half with --bind address-nonce= or address-fingerprint-nonce="
)
_KNOWN: Final = (
    ChallengeEndpoint(
        name="get-quote",
        path="/GetQuote?report_data={challenge}",
        holds="the challenge || zeros",
        source="the guest agent's socket (dstack.sock) since 0.4.2, or an app that passes it on",
    ),
    ChallengeEndpoint(
        name="attest",
        path="/Attest?report_data={challenge}",
        holds="the challenge || zeros",
        source="the same socket since 0.5.6: a versioned attestation",
    ),
    ChallengeEndpoint(
        name="raw-quote",
        path="/prpc/Tappd.RawQuote?report_data={challenge}",
        holds="the challenge || zeros",
        source="tappd.sock of 0.3 and later",
        padded=True,
    ),
    ChallengeEndpoint(
        name="tdx-quote",
        path="/prpc/Tappd.TdxQuote?report_data={challenge}",
        holds='sha512("app-data:" || the challenge)',
        source="tappd.sock of 0.3 and later",
        binding="app-data",
    ),
    ChallengeEndpoint(
        name="atlas",
        path=_SESSION_PATH,
        holds="sha512(the challenge || the exporter of the TLS session, EXPORTER-Channel-Binding)",
        source="attested TLS of atlas (concrete-security/atlas core/src/dstack/verifier.rs)",
        sizes=(_HALF,),
        session=True,
    ),
    ChallengeEndpoint(
        name="attestation",
        path="/attestation?nonce={challenge}",
        holds="the challenge, first or last",
        source="apps of their own",
    ),
    ChallengeEndpoint(
        name="attestation-report",
        path="/attestation/report?nonce={challenge}",
        holds=_NONCE_LAST,
        source="compose managers and inference proxies without a version in their paths",
        sizes=(_HALF,),
    ),
    ChallengeEndpoint(
        name="v1-attestation-report",
        path="/v1/attestation/report?nonce={challenge}",
        holds=_NONCE_LAST,
        source="inference proxies of Phala (vllm-proxy), near.ai and aci/1",
        sizes=(_HALF,),
    ),
)
CHALLENGE_ENDPOINTS: Final = {item.name: item for item in _KNOWN}
"""The known ways, by name."""


def asks_of_session(url: str) -> bool:
    """Whether an address is one where the challenge is posted, and the TLS session quoted too."""
    return CHALLENGE not in url and url.endswith(_SESSION_PATH)
