"""Conventions of the 64 bytes of report data that apps choose for themselves.

What an app puts there only its own code says, so the relying party names the convention and the
values: KIND=VALUE or KIND=VALUE:VALUE, each value in hex, or a key as NEAR writes it. What is found
then is that the quote commits to those values, whoever chose them.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError, UsageError
from verifier.evidence import codec
from verifier.evidence.certificates import parse_der_chain, spki_digest
from verifier.evidence.td.quote import parse_quote
from verifier.patterns import pattern

CHALLENGE_LEAF: Final = "challenge-leaf"
"""Challenge (32 bytes) || sha256(DER SubjectPublicKeyInfo of the app certificate's key). It ties
two quotes where the app's code lets nobody else choose these bytes, so that its only value is the
compose hash of the manifest that it is named for."""

SESSION: Final = "nonce-exporter"
"""What attested TLS commits to: whoever has its exporter has a key of that very session."""

_HEX: Final = pattern(r"(?:0x|sha256:)?((?:[0-9a-fA-F]{2})+)", re.ASCII)
_NEAR_KEY: Final = pattern(r"ed25519-([1-9A-HJ-NP-Za-km-z]{32,44})", re.ASCII)
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_MAX_VALUE: Final = 4096
_SHOWN: Final = 20


class Value(Struct, frozen=True):
    """One named value: how many bytes it may have, and whether it is the relying party's nonce."""

    name: str
    sizes: tuple[int, ...] = ()
    nonce: bool = False


class Convention(Struct, frozen=True):
    """How report data follows from values; `text` is the formula, `source` says who uses it."""

    kind: str
    values: tuple[Value, ...]
    text: str
    source: str
    compose: Callable[..., bytes]

    @property
    def usage(self) -> str:
        """How it is written on a command line."""
        return f"{self.kind}={':'.join(value.name for value in self.values)}"


class Binding(Struct, frozen=True):
    """A convention and the values that the relying party names, in the convention's order."""

    kind: str
    values: tuple[bytes, ...]

    @property
    def convention(self) -> Convention | None:
        """The convention; None for `challenge-leaf`, whose report data needs a certificate."""
        return CONVENTIONS.get(self.kind)

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that a quote has which commits to these values; b"" where no value says."""
        return self.convention.compose(*self.values) if self.convention else b""

    def answers(self, challenge: bytes) -> bool:
        """Whether the nonce among the values is this challenge."""
        held = zip(self.convention.values, self.values, strict=True) if self.convention else ()
        return bool(challenge) and any(item.nonce and value == challenge for item, value in held)


def session_binding(challenge: bytes, exporter: str) -> Binding:
    """A challenge and the exporter (hex) of the TLS session in which it was asked. Raises
    EvidenceError for an exporter that is none."""
    return Binding(SESSION, (challenge, codec.parse_hex(exporter, "exporter of a TLS session")))


def parse_binding(text: str) -> Binding:
    """KIND=VALUE[:VALUE…]. Raises UsageError with every usage where it is of no known form."""
    kind, _, rest = text.partition("=")
    if kind == CHALLENGE_LEAF:
        named: tuple[Value, ...] = (Value("COMPOSE_HASH", (32,)),)
    elif kind in CONVENTIONS:
        named = CONVENTIONS[kind].values
    else:
        raise _unknown(text, "names no known convention")
    given = rest.replace("sha256:", "").replace("ed25519:", "ed25519-").split(":")
    if len(given) != len(named):
        raise _unknown(text, f"has {len(given)} values, not {len(named)}")
    values = []
    for value, part in zip(named, given, strict=True):
        raw = _bytes(part)
        if not raw or (value.sizes and len(raw) not in value.sizes):
            sizes = " or ".join(map(str, value.sizes)) or f"1 to {_MAX_VALUE}"
            raise _unknown(text, f"{value.name} is not {sizes} bytes in hex")
        values.append(raw)
    return Binding(kind, tuple(values))


def _unknown(text: str, why: str) -> UsageError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    usages = [f"{CHALLENGE_LEAF}=COMPOSE_HASH", *(item.usage for item in CONVENTIONS.values())]
    return UsageError(f"--bind {shown!a} {why}", hint=f"known: {', '.join(usages)}")


def _bytes(text: str) -> bytes:
    if match := _HEX.fullmatch(text):
        return bytes.fromhex(match[1]) if len(match[1]) <= 2 * _MAX_VALUE else b""
    if match := _NEAR_KEY.fullmatch(text):
        number = 0
        for letter in match[1]:
            number = number * 58 + _BASE58.index(letter)
        return number.to_bytes(32, "big") if number < 1 << 256 else b""
    return b""


def _padded(value: bytes, size: int = 32) -> bytes:
    return value.ljust(size, b"\0")


def _near_mpc(tls_key: bytes, account_key: bytes) -> bytes:
    return _padded(b"\0\1" + hashlib.sha3_384(tls_key + account_key).digest(), 64)


def _chutes(nonce: bytes, key: bytes, certificate: bytes) -> bytes:
    spelled = nonce.hex().encode("ascii") + base64.b64encode(key)
    return hashlib.sha256(spelled).digest() + certificate


_NONCE: Final = Value("NONCE", (32,), nonce=True)
_ADDRESS: Final = Value("ADDRESS", (20, 32))
_KNOWN: Final = (
    Convention(
        "near-mpc",
        (Value("TLS_KEY", (32,)), Value("ACCOUNT_KEY", (32,))),
        "0x0001 || sha3-384(TLS key || account key) || 14 zero bytes",
        "near/mpc crates/mpc-attestation/src/report_data.rs, version 1",
        _near_mpc,
    ),
    Convention(
        "address-nonce",
        (_ADDRESS, _NONCE),
        "signing address or ed25519 key, padded to 32 bytes || nonce",
        "inference proxies of Phala and near.ai without a TLS fingerprint",
        lambda address, nonce: _padded(address) + nonce,
    ),
    Convention(
        "address-fingerprint-nonce",
        (_ADDRESS, Value("FINGERPRINT", (32,)), _NONCE),
        "sha256(signing address || TLS certificate fingerprint) || nonce",
        "inference proxies of near.ai with a TLS fingerprint",
        lambda address, fingerprint, nonce: hashlib.sha256(address + fingerprint).digest() + nonce,
    ),
    Convention(
        "certificate-nonce",
        (Value("SHA256", (32,)), _NONCE),
        "sha256 of a TLS certificate, or of its key || nonce",
        "SecretVM",
        lambda digest, nonce: digest + nonce,
    ),
    Convention(
        "chutes",
        (_NONCE, Value("KEY"), Value("SHA256", (32,))),
        "sha256(nonce in hex || ML-KEM key in base64) || sha256 of the evidence service's TLS key",
        "Chutes; its GPUs answer the first half: 13rac1/teep internal/provider/chutes",
        _chutes,
    ),
    Convention(
        SESSION,
        (Value("NONCE", (16, 32, 64), nonce=True), Value("EXPORTER", (32, 48, 64))),
        "sha512(nonce || exported keying material of the TLS session)",
        "attested TLS of atlas",
        lambda nonce, exporter: hashlib.sha512(nonce + exporter).digest(),
    ),
    Convention(
        "file",
        (Value("SHA256", (32,)),),
        "sha256 of a file || 32 zero bytes",
        "evidences of dstack-ingress",
        lambda digest: _padded(digest, 64),
    ),
    Convention(
        "app-data",
        (Value("PAYLOAD", nonce=True),),
        'sha512("app-data:" || payload)',
        "Dstack-TEE/dstack QuoteContentType::AppData",
        lambda payload: hashlib.sha512(b"app-data:" + payload).digest(),
    ),
)
CONVENTIONS: Final = {item.kind: item for item in _KNOWN}
"""The conventions other than `challenge-leaf`, by kind."""


def stated_bindings(raw: bytes) -> tuple[str, ...]:
    """The bindings (as `parse_binding` reads them) that the attestations in a service's report
    follow from what they state of themselves: a signing address, a TLS fingerprint and a nonce, or
    a nonce, a key for encryption and a certificate. Nothing is verified; whoever asked knows which
    of these values are its own."""
    if not any(name in raw for name in (b"signing_address", b"e2e_pubkey")):
        return ()
    try:
        document = codec.parse_json_object(raw, "report", codec.MAX_LISTED)
    except EvidenceError:
        return ()
    stated = [document, document.get("gateway_attestation")]
    for name in ("model_attestations", "all_attestations"):
        listed = document.get(name)
        stated.extend(listed if isinstance(listed, list) else [])
    found = (_stated(item) for item in stated if isinstance(item, dict))
    return tuple(dict.fromkeys(filter(None, found)))


def _stated(attestation: codec.JsonObject) -> str:
    members = ("signing_address", "tls_cert_fingerprint", "request_nonce", "nonce")
    values = {name: _bytes(str(attestation.get(name) or "")) for name in members}
    spelled = attestation.get("intel_quote") or attestation.get("quote")
    try:
        quote = _quote(spelled)
        report_data = parse_quote(quote, "quote").report_data
    except EvidenceError:
        return ""
    address, fingerprint = values["signing_address"], values["tls_cert_fingerprint"]
    key, certificate = _decoded(attestation.get("e2e_pubkey")), _tls_key(attestation)
    for nonce in (values["request_nonce"], values["nonce"]):
        for kind, given in (
            ("address-fingerprint-nonce", (address, fingerprint, nonce)),
            ("address-nonce", (address, nonce)),
            ("chutes", (nonce, key, certificate)),
        ):
            if all(given) and CONVENTIONS[kind].compose(*given) == report_data:
                return f"{kind}={':'.join(value.hex() for value in given)}"
    return ""


def _quote(spelled: object) -> bytes:
    """A quote in hex or in base64. Raises EvidenceError."""
    try:
        return codec.parse_hex(spelled, "quote", allow_0x=True)
    except EvidenceError:
        return codec.parse_base64(str(spelled), "quote")


def _decoded(spelled: object) -> bytes:
    """The bytes of a member in base64, b"" where it has none."""
    try:
        return codec.parse_base64(spelled, "member") if isinstance(spelled, str) else b""
    except EvidenceError:
        return b""


def _tls_key(attestation: codec.JsonObject) -> bytes:
    """sha256 of the key of the certificate (DER in base64) in an attestation, b"" without one."""
    raw = _decoded(attestation.get("certificate"))
    try:
        (certificate,) = parse_der_chain((raw,), "certificate") if raw else (None,)
    except EvidenceError:
        return b""
    return bytes.fromhex(spki_digest(certificate)) if certificate is not None else b""
