"""Targets: readers that stand outside of `verifier.evidence`. The second verifier of quotes reads
all by itself, and collection reads what tells it what to ask for next."""

import json
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fuzz.of_guests import JSON, world
from tests.fuzz.target import Target, text
from verifier.checks.second_opinion import certificates, documents, layout
from verifier.checks.second_opinion.judge import REFUSALS
from verifier.collect.http import Response
from verifier.collect.instances import claimed_ids, instance_in_certificate, listed_instances
from verifier.collect.refusals import classify, lags
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Kind
from verifier.lab.knobs import Knobs
from verifier.lab.world import build

_CLAIMING: Final = (Kind.INFO, Kind.ATTESTATION, Kind.GET_QUOTE, Kind.EVENT_LOG)
_STATUSES: Final = (200, 400, 429, 500)
_ERRORS: Final = (
    {"code": -32005, "message": "query exceeds max block range 1,000"},
    {"code": -32602, "message": "try this range [0x1, 0x2f]", "data": ["more"]},
    {"code": -32600, "message": "limited to 0 - 2k blocks range"},
    "rate limit",
    None,
)


def _quotes() -> list[bytes]:
    """Quotes without their padding."""
    quotes = [build(Knobs(quote_format=form)).guest.quote(bytes(64)) for form in ("v4", "v5-td15")]
    return [raw.rstrip(b"\0") for raw in quotes]


def _pcks() -> list[bytes]:
    """The PCK certificate of the honest world's machine (DER)."""
    return [world().pki.pck.public_bytes(Encoding.DER)]


def _platform(raw: bytes) -> object:
    return certificates.platform_of(x509.load_der_x509_certificate(raw))


def _refused(raw: bytes) -> object:
    """What a node says, under any status, and in the header that says when to come back."""
    given = [("retry-after", raw[:40].decode("latin-1"))]
    answers = [
        Response(status=status, url="https://node.example/", body=raw, headers=tuple(given))
        for status in _STATUSES
    ]
    return [(classify(each, wide=wide), lags(each)) for each in answers for wide in (False, True)]


def _said() -> list[bytes]:
    return [
        json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode() for error in _ERRORS
    ] + [b'{"jsonrpc": "2.0", "id": 1, "result": null}']


def _claimed(raw: bytes) -> object:
    found, problems = [], []
    for kind in _CLAIMING:
        try:
            found.append(claimed_ids(kind, raw))
        except EvidenceError as error:
            problems.append(error)
    return instance_in_certificate(raw), listed_instances(raw), found, problems


def _claims() -> list[bytes]:
    guest = world().guest
    stated = {"app_id": "0a" * 20, "instance_id": "0b" * 20, "app_cert": "", "tcb_info": "{}"}
    event = {"imr": 3, "event_type": 0x08000001, "digest": "0c" * 48, "event_payload": "0b" * 20}
    log = [{**event, "event": name} for name in ("app-id", "instance-id")]
    return [
        json.dumps(guest.get_quote(bytes(64))).encode(),
        guest.app_cert.encode(),
        json.dumps(stated).encode(),
        json.dumps(log).encode(),
    ]


TARGETS: Final = (
    Target(
        name="second-quote",
        parse=layout.read_quote,
        records=(layout.read_quote,),
        given=_quotes,
        refuses=REFUSALS,
    ),
    Target(
        name="second-platform",
        parse=_platform,
        given=_pcks,
        refuses=REFUSALS,
    ),
    Target(
        name="second-tcb-info",
        parse=lambda raw: documents.read_tcb_info(text(raw)),
        records=(documents.read_tcb_info,),
        given=lambda: [world().collateral.tcb_info.encode()],
        refuses=REFUSALS,
        tokens=JSON,
    ),
    Target(
        name="second-qe-identity",
        parse=lambda raw: documents.read_qe_identity(text(raw)),
        records=(documents.read_qe_identity,),
        given=lambda: [world().collateral.qe_identity.encode()],
        refuses=REFUSALS,
        tokens=JSON,
    ),
    Target(name="rpc-refusal", parse=_refused, given=_said, tokens=JSON),
    Target(name="claimed-ids", parse=_claimed, given=_claims, tokens=JSON),
)
