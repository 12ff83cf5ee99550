"""Quotes with their collateral, real and simulated ones, and every way to change a part of them.

What only has its bytes changed is refused by nearly everything. So most changes are made below a
signature, which is then made again: the simulated world has all the keys, and Intel's are not
needed to ask what two verifiers would say.
"""

import json
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from verifier.evidence.td.quote import parse_quote
from verifier.lab import keys
from verifier.lab.knobs import Knobs
from verifier.lab.pki import Pki, key_usage, pem_chain
from verifier.lab.quote import QuoteFormat
from verifier.lab.world import World, build

Members = dict[str, str | bytes]
_OCTETS: Final = ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature")
_STATUSES: Final = (
    *("UpToDate", "OutOfDate", "Revoked", "ConfigurationNeeded", "SWHardeningNeeded"),
    *("OutOfDateConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "TDRelaunchAdvised"),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, "", 0, 1, -1, 2, 3, 255, 256, 65536, 1.0, True, [], {}, "00", "TDX", *_STATUSES),
    *("2026-06-15T12:00:00Z", "2036-06-15T12:00:00Z", "2026-06-15T12:00:00+00:00", ["INTEL-SA-1"]),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a verifier of quotes is given. `change` says what was changed, and `world` is the
    simulated one whose keys signed it; None for a real one."""

    quote: bytes
    members: Members
    root: bytes
    at: int
    change: str = "nothing"
    world: World | None = field(default=None, compare=False)


def members_of(document: dict[str, Any]) -> Members:
    """The members of a QuoteCollateralV3 document, without a PCK certificate chain."""
    return {
        name: bytes.fromhex(value) if name in _OCTETS else value
        for name, value in document.items()
        if name != "pck_certificate_chain"
    }


def of_world(knobs: Knobs) -> Asked:
    """The quote of a simulated world, with what its PCS serves."""
    world = build(knobs)
    return Asked(
        parse_quote(world.guest.quote(bytes(64)), "simulated").raw,
        members_of(world.collateral.document()),
        world.pki.root_der,
        world.now,
        world=world,
    )


_FORMATS: Final[tuple[QuoteFormat, ...]] = ("v4", "v5-td10", "v5-td15")


def simulated() -> Iterator[Asked]:
    """Worlds whose quotes verify, with each body and with statuses that converge."""
    for quote_format in _FORMATS:
        yield of_world(Knobs(quote_format=quote_format))
    for status in _STATUSES[:-1]:
        for part in ("tcb_status", "module_status", "qe_status"):
            if status in _STATUSES[:3] or part == "tcb_status":
                yield of_world(Knobs(quote_format="v5-td15", **{part: status}))  # type: ignore[arg-type]


@dataclass(slots=True)
class Parts:
    """A quote, taken apart. `inside` and `behind` follow the PCK's chain in its data, and all."""

    signed: bytes
    signature: bytes
    key: bytes
    report: bytes
    report_signature: bytes
    authenticated: bytes
    chain: bytes
    kinds: tuple[int, int] = (6, 5)
    inside: bytes = b""
    behind: bytes = b""

    def joined(self) -> bytes:
        """The quote."""
        certification = (
            self.report
            + self.report_signature
            + struct.pack("<H", len(self.authenticated))
            + self.authenticated
            + struct.pack("<HI", self.kinds[1], len(self.chain))
            + self.chain
            + self.inside
        )
        rest = (
            self.signature
            + self.key
            + struct.pack("<HI", self.kinds[0], len(certification))
            + certification
            + self.behind
        )
        return self.signed + struct.pack("<I", len(rest)) + rest

    def sign(self, world: World) -> None:
        """Sign all of it again."""
        attestation_key = keys.p256(f"attestation key {world.knobs.platform}")
        bound = sha256(self.key + self.authenticated).digest()
        self.report = self.report[:320] + bound + self.report[352:]
        self.report_signature = keys.sign_p256(world.pki.pck_key, self.report)
        self.signature = keys.sign_p256(attestation_key, self.signed)


_PLAIN, _HEADER = 4, 48
"""The version of quotes without a descriptor of the body, and the size of their headers."""


def taken_apart(quote: bytes) -> Parts:
    """The parts of a quote as its quoting enclave wrote it."""
    (version,) = struct.unpack_from("<H", quote)
    end = 632 if version == _PLAIN else 54 + struct.unpack_from("<I", quote, 50)[0]
    place = end + 4 + 64 + 64 + 6
    authenticated = place + 384 + 64 + 2
    (size,) = struct.unpack_from("<H", quote, authenticated - 2)
    return Parts(
        signed=quote[:end],
        signature=quote[end + 4 : end + 68],
        key=quote[end + 68 : end + 132],
        report=quote[place : place + 384],
        report_signature=quote[place + 384 : place + 448],
        authenticated=quote[authenticated : authenticated + size],
        chain=quote[authenticated + size + 6 :],
    )


def changed(asked: Asked, rng: random.Random) -> Asked:
    """One change, or two, of a kind drawn by lot."""
    kinds = (*_ANYBODY, *(_SIGNED if asked.world is not None else ()))
    found = asked
    for _ in range(rng.choice((1, 1, 1, 2))):
        name, change = rng.choice(kinds)
        what = name if found.change == "nothing" else f"{found.change}; {name}"
        found = replace(change(found, rng), change=what)
    return found


def _edited(raw: bytes, rng: random.Random) -> bytes:
    """Bytes with a bit flipped, a byte set, some cut out, doubled or put in."""
    start = rng.randrange(len(raw) + 1)
    end = min(len(raw), start + rng.choice((1, 1, 1, 2, 4, 32)))
    middle = raw[start:end]
    new = rng.choice(
        (
            bytes([middle[0] ^ 1 << rng.randrange(8)]) + middle[1:] if middle else b"\0",
            rng.randbytes(len(middle)),
            bytes(len(middle)),
            b"",
            middle * 2,
            middle + rng.randbytes(2),
        )
    )
    return raw[:start] + new + raw[end:]


def _flipped(raw: bytes, rng: random.Random, start: int, size: int) -> bytes:
    place = start + rng.randrange(size)
    new = rng.choice((raw[place] ^ 1 << rng.randrange(8), rng.randrange(256), 0, 255))
    return raw[:place] + bytes([new]) + raw[place + 1 :]


def _quote_bytes(asked: Asked, rng: random.Random) -> Asked:
    return replace(asked, quote=_edited(asked.quote, rng))


def _moment(asked: Asked, rng: random.Random) -> Asked:
    """Another time: at, just before and just after a date of some part."""
    dates = [asked.at + timedelta(days=rng.randrange(-4000, 4000)).total_seconds()]
    for name in ("tcb_info", "qe_identity"):
        try:
            document = json.loads(str(asked.members[name]))
            dates += [_seconds(document[end]) for end in ("issueDate", "nextUpdate")]
        except (ValueError, KeyError, TypeError):
            continue
    for name in ("root_ca_crl", "pck_crl"):
        try:
            crl = x509.load_der_x509_crl(asked.members[name])  # type: ignore[arg-type]
            dates += [crl.last_update_utc.timestamp(), crl.next_update_utc.timestamp()]  # type: ignore[union-attr]
        except ValueError:
            continue
    return replace(asked, at=max(0, int(rng.choice(dates)) + rng.choice((-1, 0, 1))))


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def _member_bytes(asked: Asked, rng: random.Random) -> Asked:
    name = rng.choice(sorted(asked.members))
    value = asked.members[name]
    raw = _edited(value.encode() if isinstance(value, str) else value, rng)
    new: str | bytes = raw if isinstance(value, bytes) else raw.decode("latin-1")
    return replace(asked, members=asked.members | {name: new})


def _member_swapped(asked: Asked, rng: random.Random) -> Asked:
    """A member that is one of another name."""
    kind = rng.choice((str, bytes))
    first, second = rng.sample(
        [name for name in sorted(asked.members) if isinstance(asked.members[name], kind)], 2
    )
    return replace(asked, members=asked.members | {first: asked.members[second]})


def _nodes(asked: Asked, rng: random.Random) -> Asked:
    name = rng.choice(("tcb_info", "qe_identity"))
    text = str(asked.members[name])
    try:
        document = json.loads(text)
    except ValueError:
        return _quote_bytes(asked, rng)
    _change_node(document, rng)
    separators = rng.choice(((",", ":"), (",", ":"), (", ", ": ")))
    new = json.dumps(document, separators=separators)
    if not rng.randrange(20):
        new = new.replace("{", '{"id":"TDX",', 1)
    return replace(asked, members=asked.members | {name: new})


def _change_node(document: object, rng: random.Random) -> None:
    """Remove, replace, double or move one node of a JSON document."""
    inner = [node for node in _inner(document) if node]
    if not inner:
        return
    node = rng.choice(inner)
    key: Any = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
    match rng.choice(("remove", "count", "double", "shuffle", "replace")):
        case "remove":
            del node[key]
        case "count" if type(node[key]) is int:
            node[key] += rng.choice((-1, 1))
        case "double" if isinstance(node, list):
            node.insert(rng.randrange(len(node) + 1), json.loads(json.dumps(node[key])))
        case "shuffle" if isinstance(node, list):
            rng.shuffle(node)
        case _:
            node[key] = rng.choice(_VALUES)


def _inner(node: object) -> Iterator[Any]:
    if isinstance(node, (dict, list)):
        yield node
        for item in node.values() if isinstance(node, dict) else node:
            yield from _inner(item)


def _world(asked: Asked) -> World:
    assert asked.world is not None
    return asked.world


def _nodes_signed(asked: Asked, rng: random.Random) -> Asked:
    return _sign_documents(_nodes(asked, rng))


def _sign_documents(asked: Asked) -> Asked:
    signed: Members = {
        f"{name}_signature": keys.sign_p256(
            _world(asked).pki.tcb_key, str(asked.members[name]).encode()
        )
        for name in ("tcb_info", "qe_identity")
    }
    return replace(asked, members=asked.members | signed)


def _again(edit: Callable[[Parts, random.Random], None]) -> Callable[[Asked, random.Random], Asked]:
    """A change of a quote's parts, which are signed again."""

    def change(asked: Asked, rng: random.Random) -> Asked:
        try:
            parts = taken_apart(asked.quote)
        except (struct.error, IndexError):
            return _quote_bytes(asked, rng)
        if parts.joined() != asked.quote:
            return _quote_bytes(asked, rng)
        edit(parts, rng)
        parts.sign(_world(asked))
        return replace(asked, quote=parts.joined())

    return change


_BEGIN: Final = b"-----BEGIN"
_SPANS: Final = ((0, 48), (48, 16), (112, 48), (160, 8), (168, 8), (168, 8), (48, 3), (632, 70))
"""Where a quote of version 4 has header, TEE_TCB_SVN, the TDX module's signer and attributes, and
the TD's; in version 5 the body, and TEE_TCB_SVN2 with MRSERVICETD, stand six bytes further."""


def _report(parts: Parts, rng: random.Random) -> None:
    start, size = rng.choice(_SPANS)
    start += 6 * (parts.signed[0] != _PLAIN and start >= _HEADER)
    if start + size <= len(parts.signed):
        parts.signed = _flipped(parts.signed, rng, start, size)


def _enclave(parts: Parts, rng: random.Random) -> None:
    start, size = rng.choice(((16, 4), (48, 16), (128, 32), (256, 2), (258, 2), (352, 32)))
    parts.report = _flipped(parts.report, rng, start, size)


def _certification(parts: Parts, rng: random.Random) -> None:
    certificates = parts.chain.split(_BEGIN)
    match rng.choice(("authenticated", "kinds", "inside", "behind", "order", "lines", "end")):
        case "authenticated":
            parts.authenticated = rng.randbytes(rng.choice((0, 1, 31, 33, 64)))
        case "kinds":
            parts.kinds = rng.choice(((0, 5), (5, 5), (6, 4), (6, 6), (6, 3), (7, 5)))
        case "inside":
            parts.inside = rng.choice((b"\0", rng.randbytes(9)))
        case "behind":
            parts.behind = rng.choice((b"\0", rng.randbytes(9)))
        case "order":
            rng.shuffle(certificates)
            parts.chain = _BEGIN.join((b"", *filter(None, certificates)))
        case "lines":
            parts.chain = parts.chain.replace(b"\n", rng.choice((b"\r\n", b"\n\n")))
        case _:
            parts.chain += rng.choice((b"\0" * 3, b"words\n", parts.chain))


_ALGORITHMS: Final[tuple[hashes.SHA256 | hashes.SHA384, ...]] = (hashes.SHA256(), hashes.SHA384())
_OF_CERTIFICATES: Final = (
    *("drop", "criticality", "algorithm", "start", "end", "subject", "another"),
    *("content",) * 3,
)


def _reissued(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, rng: random.Random
) -> x509.Certificate:
    """A certificate with something else in it, by the same issuer."""
    extensions = [(item.value, item.critical) for item in certificate.extensions]
    subject, start = certificate.subject, certificate.not_valid_before_utc
    end, algorithm = certificate.not_valid_after_utc, _ALGORITHMS[0]
    place = rng.randrange(len(extensions))
    match rng.choice(_OF_CERTIFICATES):
        case "drop":
            del extensions[place]
        case "criticality":
            extensions[place] = (extensions[place][0], not extensions[place][1])
        case "algorithm":
            algorithm = _ALGORITHMS[1]
        case "start":
            start += timedelta(days=rng.choice((-900, 900)))
        case "end":
            end += timedelta(days=rng.choice((-900, 900)))
        case "subject":
            subject = rng.choice((certificate.issuer, x509.Name([])))
        case "another":
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
            extensions.append((unknown, rng.choice((True, False))))
        case _:
            extensions = [
                (_other_extension(value, rng), critical) for value, critical in extensions
            ]
    builder = x509.CertificateBuilder(
        certificate.issuer, subject, certificate.public_key(), certificate.serial_number
    )
    builder = builder.not_valid_before(start).not_valid_after(end)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(key, algorithm, ecdsa_deterministic=True)


def _other_extension(value: x509.ExtensionType, rng: random.Random) -> x509.ExtensionType:
    if isinstance(value, x509.UnrecognizedExtension):
        raw = value.value
        edit = rng.choice((_edited, *(_one_byte,) * 4))
        return x509.UnrecognizedExtension(value.oid, edit(raw, rng))
    if isinstance(value, x509.BasicConstraints) and not rng.randrange(3):
        return x509.BasicConstraints(ca=not value.ca, path_length=None)
    if isinstance(value, x509.KeyUsage) and not rng.randrange(3):
        return key_usage(is_ca=not value.key_cert_sign)
    return value


def _one_byte(raw: bytes, rng: random.Random) -> bytes:
    return _flipped(raw, rng, 0, len(raw))


def _certificates(asked: Asked, rng: random.Random) -> Asked:
    """The PCK, its CA or the TCB signing certificate, issued again."""
    pki: Pki = _world(asked).pki
    role = rng.choice(("pck", "pck", "ca", "tcb"))
    root_key, ca_key = keys.p256(_world(asked).knobs.root), keys.p256("platform CA")
    if role == "tcb":
        chain = pem_chain([_reissued(pki.tcb_signing, root_key, rng), pki.root]).decode()
        names = rng.choice((("tcb_info",), ("qe_identity",), ("tcb_info", "qe_identity")))
        chains: Members = {f"{name}_issuer_chain": chain for name in names}
        return replace(asked, members=asked.members | chains)
    ca = _reissued(pki.platform_ca, root_key, rng) if role == "ca" else pki.platform_ca
    pck = _reissued(pki.pck, ca_key, rng) if role == "pck" else pki.pck

    def edit(parts: Parts, _: random.Random) -> None:
        parts.chain = pem_chain([pck, ca, pki.root])

    return _again(edit)(asked, rng)


def _lists(asked: Asked, rng: random.Random) -> Asked:
    """A revocation list, signed again, or by another key."""
    pki, knobs = _world(asked).pki, _world(asked).knobs
    name, issuer, key = rng.choice(
        (
            ("root_ca_crl", pki.root, keys.p256(knobs.root)),
            ("pck_crl", pki.platform_ca, keys.p256("platform CA")),
        )
    )
    old = x509.load_der_x509_crl(pki.root_ca_crl if name == "root_ca_crl" else pki.pck_crl)
    start, end = old.last_update_utc, old.next_update_utc
    assert end is not None
    how = rng.choice(("begins", "ends", "issuer", "number", "critical", "signer", "entries"))
    start += timedelta(days=rng.choice((-90, 90))) * (how == "begins")
    end += timedelta(days=rng.choice((-29, 90))) * (how == "ends")
    named = rng.choice((pki.root, pki.platform_ca)) if how == "issuer" else issuer
    builder = x509.CertificateRevocationListBuilder(
        named.subject, min(start, end - timedelta(1)), end
    )
    if how != "number":
        number = x509.CRLNumber(rng.randrange(1 << 20))
        builder = builder.add_extension(number, critical=how == "critical")
    revoked = [pki.pck, pki.platform_ca, pki.tcb_signing, pki.root]
    for item in rng.sample(revoked, rng.choice((0, 0, 1, 2))):
        entry = x509.RevokedCertificateBuilder(item.serial_number, start)
        builder = builder.add_revoked_certificate(entry.build())
    signer = keys.p256("rogue") if how == "signer" else key
    crl = builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True)
    return replace(asked, members=asked.members | {name: crl.public_bytes(Encoding.DER)})


_ANYBODY: Final = (
    ("bytes of the quote", _quote_bytes),
    ("bytes of a member", _member_bytes),
    ("members swapped", _member_swapped),
    ("JSON nodes", _nodes),
    ("the time", _moment),
)
"""What anybody may change."""

_SIGNED: Final = (
    ("JSON nodes, signed again", _nodes_signed),
    ("JSON nodes, signed again", _nodes_signed),
    ("the TD's report, signed again", _again(_report)),
    ("the TD's report, signed again", _again(_report)),
    ("the quoting enclave's report, signed again", _again(_enclave)),
    ("certification data, signed again", _again(_certification)),
    ("certificates, issued again", _certificates),
    ("certificates, issued again", _certificates),
    ("revocation lists, signed again", _lists),
)
"""What takes Intel's keys, or those of a machine; the first ones more often, since much hangs on
them."""
