"""Targets: what a guest, its KMS and its platform say of themselves."""

import json
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from tests.fuzz.target import Target, each, text
from tests.machine.machines import RECORDED
from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.certificate_log import parse_logged
from verifier.evidence.certificates import parse_der_chain, parse_pem_chain, spki_digest
from verifier.evidence.guest import kms_answers
from verifier.evidence.guest.cloud import parse_cloud_attestations, parse_kms_account
from verifier.evidence.guest.dashboard import parse_dashboard
from verifier.evidence.guest.dns import parse_app_address
from verifier.evidence.guest.page import parse_page
from verifier.evidence.guest.proof import parse_proof
from verifier.evidence.guest.tcb_info import parse_info, parse_quote_answer
from verifier.evidence.subject import (
    parse_peer,
    parse_pem,
    parse_tcb_info_bytes,
)
from verifier.evidence.td.attestation import parse_attestation
from verifier.evidence.td.collateral import parse_crl, read_collateral
from verifier.evidence.td.event_log import (
    Event,
    inflate_event_log,
    parse_event_log,
    replay,
    runtime_digest,
)
from verifier.evidence.td.identity import measured_identity
from verifier.evidence.td.measurements import boot_rtmr3
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import EXT_ATTESTATION, parse_chain, spki
from verifier.evidence.td.report_data import stated_bindings
from verifier.lab.gpu import Gpus
from verifier.lab.knobs import DEFAULT_NOW, Knobs
from verifier.lab.world import World, build
from verifier.machine.acpi import acpi_digests
from verifier.machine.shape import parse_vm_config

JSON: Final = tuple(
    item.encode()
    for item in (
        *('"', "\\", "\\u0000", "\\ud800", "{", "}", "[", "]", ",", ":", "null", "true", "NaN"),
        *("1e999", "-0", "18446744073709551616", "0x", "-1", '""', "{}", "[]", "\u202e"),
    )
)
_KINDS: Final = (
    *(Kind.COLLATERAL, Kind.PCS_TCB_INFO, Kind.PCS_QE_IDENTITY, Kind.PCS_PCK_CRL),
    Kind.PCS_ROOT_CA_CRL,
)
_LONGEST: Final = 1 << 13


@cache
def world() -> World:
    """The honest simulated world."""
    return build(Knobs())


def _log(raw: bytes) -> object:
    inflated = inflate_event_log(raw, "log")
    events = parse_event_log(inflated, "log")
    if all(event.digest is not None for event in events):
        replay(event.digest or b"" for event in events)
    return [_digest(event) for event in events], _measured(events)


def _digest(event: Event) -> bytes:
    return runtime_digest(event) if event.is_runtime else b""


def _measured(events: tuple[Event, ...]) -> object:
    return measured_identity(events), boot_rtmr3(events)


def _chain(raw: bytes) -> object:
    return [spki(item) for item in parse_chain(text(raw), "chain").certificates]


def _pem_chain(raw: bytes) -> object:
    return [spki_digest(item) for item in parse_pem_chain(raw, "chain")]


def _der_chain(raw: bytes) -> object:
    """Certificates, each after its length in two bytes."""
    found = []
    while raw:
        size = int.from_bytes(raw[:2], "big") % _LONGEST
        found.append(raw[2 : 2 + size])
        raw = raw[2 + size :]
    return [spki_digest(item) for item in parse_der_chain(found, "chain")]


def _der_seeds() -> list[bytes]:
    der = [item.public_bytes(Encoding.DER) for item in Gpus(count=1, now=DEFAULT_NOW).chain(0)]
    return [b"".join(len(item).to_bytes(2, "big") + item for item in der)]


def _collateral(raw: bytes) -> object:
    """A set of collateral, or one of its parts: the first byte says which."""
    builder = BundleBuilder()
    kind = _KINDS[raw[0] % len(_KINDS)] if raw else Kind.COLLATERAL
    builder.add(kind, raw[1:], source="given", collected_at=1)
    found = read_collateral(builder.build())
    if found.unreadable and not (found.documents or found.crls):
        raise found.unreadable[0][1]
    return found


def _collateral_seeds() -> list[bytes]:
    document = world().collateral.document()
    pck = world().pki.pck_crl
    parts = [{"tcbInfo": json.loads(str(document["tcb_info"])), "signature": "00" * 64}]
    parts += [{"enclaveIdentity": json.loads(str(document["qe_identity"])), "signature": "00" * 64}]
    return [
        b"\0" + json.dumps(document).encode(),
        *(bytes([place]) + json.dumps(part).encode() for place, part in enumerate(parts, 1)),
        b"\3" + pck,
        b"\4" + pck.hex().encode(),
    ]


def _machine(raw: bytes) -> object:
    return acpi_digests(parse_vm_config(raw))


def _bindings(raw: bytes) -> object:
    found = stated_bindings(raw)
    if not found:
        raise EvidenceError("states nothing")
    return found


def _attestations() -> list[bytes]:
    forms = (Knobs(cert_attestation="msgpack-v1"), Knobs(cert_attestation="scale-v0"))
    return [
        parse_chain(build(item).guest.app_cert, "chain").leaf[EXT_ATTESTATION] for item in forms
    ]


def _answers() -> list[bytes]:
    key = {"app_id": "00" * 20, "signatureChain": _SIGNATURES}
    listed = {"key": "00" * 32, "signature_chain": ["00" * 65, "00" * 65]}
    return [json.dumps(item).encode() for item in (key, listed, {"keys": [key]})]


_SIGNATURES: Final = {
    "derivedPubkey": "02" * 33,
    "appSignature": "00" * 65,
    "kmsSignature": "00" * 65,
}

TARGETS: Final = (
    Target(
        name="page",
        parse=lambda raw: parse_page(raw, "page"),
        records=(parse_page,),
        tokens=(b"<textarea readonly>", b"</textarea>", b"&#38;", b"<!--", b"<script>", b"]]>"),
    ),
    Target(
        name="info",
        parse=each(
            lambda raw: parse_info(raw, "Info"),
            lambda raw: parse_tcb_info_bytes(raw, "tcb_info"),
            lambda raw: parse_quote_answer(raw, "quote"),
        ),
        records=(parse_info, parse_tcb_info_bytes, parse_quote_answer),
        given=lambda: [world().guest.tcb_info.encode()],
        tokens=JSON,
    ),
    Target(
        name="kms",
        parse=each(
            lambda raw: kms_answers.parse_meta(raw, "meta"),
            lambda raw: kms_answers.parse_bootstrap(raw, "meta"),
            lambda raw: kms_answers.parse_env_key(raw, "key"),
            lambda raw: kms_answers.parse_signature_chain(raw, "chain"),
            lambda raw: kms_answers.parse_chains(raw, "chains"),
            lambda raw: kms_answers.parse_key_answer(raw, "key"),
        ),
        records=(kms_answers.parse_meta, kms_answers.parse_env_key),
        given=_answers,
        tokens=JSON,
    ),
    Target(
        name="accounts",
        parse=each(
            lambda raw: parse_cloud_attestations(raw, "cloud"),
            lambda raw: parse_kms_account(raw, "kms"),
            lambda raw: parse_dashboard(raw, "dashboard"),
            lambda raw: parse_proof(raw, "proof"),
            lambda raw: parse_app_address(raw, "record"),
            _bindings,
        ),
        records=(parse_cloud_attestations, parse_kms_account, parse_dashboard, parse_proof),
        given=lambda: [
            b'{"Answer": [{"type": 16, "data": "\\"%s:443\\""}]}' % (b"0a" * 20),
            b'{"signing_address": "0x%s", "request_nonce": "%s"}' % (b"0a" * 20, b"00" * 32),
        ],
        tokens=JSON,
    ),
    Target(
        name="quote",
        parse=lambda raw: parse_quote(raw, "quote"),
        records=(parse_quote,),
    ),
    Target(
        name="event-log",
        parse=_log,
        records=(parse_event_log, inflate_event_log),
        tokens=(*JSON, b"ELGZv1", b"\x1f\x8b\x08"),
    ),
    Target(
        name="attestation",
        parse=lambda raw: parse_attestation(raw, "blob"),
        records=(parse_attestation,),
        given=_attestations,
    ),
    Target(
        name="certificates",
        parse=each(
            _chain,
            _pem_chain,
            lambda raw: parse_peer(raw, "peer"),
            lambda raw: parse_pem(raw, "chain"),
            lambda raw: parse_logged(raw, "logged"),
        ),
        records=(parse_chain, parse_pem_chain, parse_logged),
        tokens=(b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"MII"),
    ),
    Target(name="certificates-in-der", parse=_der_chain, given=_der_seeds),
    Target(name="collateral", parse=_collateral, given=_collateral_seeds, tokens=JSON),
    Target(
        name="revocations",
        parse=lambda raw: parse_crl(raw, "CRL"),
        records=(parse_crl,),
        given=lambda: [world().pki.pck_crl],
    ),
    Target(
        name="machine",
        parse=_machine,
        records=(parse_vm_config,),
        given=lambda: [json.dumps(item.vm_config).encode() for item in RECORDED[:4]],
        tokens=JSON,
    ),
    Target(
        name="hex",
        parse=each(
            lambda raw: codec.parse_hex(text(raw), "hex", allow_0x=True),
            lambda raw: codec.parse_base64(text(raw), "base64"),
            lambda raw: codec.parse_base64url(text(raw), "base64url"),
        ),
        given=lambda: [b"0x0aff", b"CgoK", b"_-8"],
    ),
)
