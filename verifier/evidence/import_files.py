"""Evidence files, told apart by shape: a file's name says nothing about what is in it.

    binary, hex, 0x hex, base64      TD quote, attestation blob (of any platform), or X.509
                                     revocation list
    JSON array of integers, string   the same, spelled in JSON
    JSON array of objects            event log, evidence of GPUs, answer of NVIDIA's service
    JSON object                      told by its keys, see `_SHAPES`
    JSON object a line               Sigstore bundles
    HTML, XML, PEM                   metadata page, GPU reference manifest, certificate chain,
                                     revocation list

Reports of providers that carry a dstack quote in a document of their own are taken apart at the
places that `_WRAPPED` lists. A quote is kept as its bytes; everything else exactly as handed over,
since an app-compose manifest is identified by the hash of its bytes.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.bundle_files import MAX_BLOB_BYTES
from verifier.evidence.gpu.nras import is_answer, is_key_set, parse_answer, parse_keys
from verifier.evidence.gpu.payload import is_payload
from verifier.evidence.gpu.rim import RIM_MARK, parse_rim
from verifier.evidence.guest import dashboard
from verifier.evidence.guest.cloud import parse_cloud_attestations
from verifier.evidence.guest.proof import is_proof, parse_proof
from verifier.evidence.guest.tcb_info import parse_quote_answer
from verifier.evidence.platforms.envelope import other_platform, parse_platform
from verifier.evidence.platforms.place import is_answer as is_place
from verifier.evidence.platforms.place import is_token, parse_place
from verifier.evidence.platforms.snp import is_amds
from verifier.evidence.td.attestation import FIRST_BYTES, parse_attestation
from verifier.evidence.td.collateral import DER_SEQUENCE, PEM_CRL, parse_crl
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import EXT_USAGE, KMS_USAGE, parse_chain
from verifier.model.identifiers import KEY_HOLDER
from verifier.model.result import JsonValue

Recognised = list[tuple[Kind, bytes]]

ACCEPTED: Final = (
    "TD quote or attestation blob (binary, hex, base64, JSON), GetQuote answer, event log, "
    "metadata page, Info answer, tcb_info, app-compose, certificate chain, QuoteCollateralV3, "
    "X.509 revocation list, "
    "KMS answer, key signature chain, attestation proof, cloud attestations, a dashboard's report, "
    "image manifest or configuration, "
    "Sigstore bundle, GPU evidence (nvidia_payload), answer or key set of NVIDIA's attestation "
    "service, GPU reference manifest (RIM), attestation of a guest on AMD SEV-SNP or AWS Nitro, "
    "Proof of Cloud statement"
)

_SHAPES: Final[tuple[tuple[Kind, frozenset[str]], ...]] = (
    (Kind.COLLATERAL, frozenset({"pck_crl", "tcb_info_signature", "qe_identity"})),
    (Kind.COLLATERAL, frozenset({"tcb_info", "tcb_info_signature", "qe_identity"})),
    (Kind.CLOUD_ATTESTATIONS, frozenset({"app_id", "instances"})),
    (Kind.DASHBOARD, dashboard.SHAPE),
    (Kind.DASHBOARD, dashboard.ANSWER),
    (Kind.APP_COMPOSE, frozenset({"manifest_version", "docker_compose_file"})),
    (Kind.APP_COMPOSE, frozenset({"manifest_version", "runner"})),
    (Kind.TCB_INFO, frozenset({"mrtd", "rtmr3"})),
    (Kind.INFO, frozenset({"app_id", "app_cert"})),
    (Kind.INFO, frozenset({"app_id", "tcb_info"})),
    (Kind.INFO, frozenset({"app_id", "instance_id", "compose_hash"})),
    (Kind.SIGNATURE_CHAIN, frozenset({"app_signature", "kms_signature"})),
    (Kind.SIGNATURE_CHAIN, frozenset({"signatureChain"})),
    (Kind.SIGNATURE_CHAIN, frozenset({"domain", "signature_chain"})),
    (Kind.KMS_META, frozenset({"ca_cert", "k256_pubkey"})),
    (Kind.KMS_ENV_KEY, frozenset({"public_key", "signature"})),
    (Kind.OCI_MANIFEST, frozenset({"schemaVersion", "manifests"})),
    (Kind.OCI_MANIFEST, frozenset({"schemaVersion", "config", "layers"})),
    (Kind.OCI_CONFIG, frozenset({"architecture", "os", "rootfs"})),
    (Kind.GPU_EVIDENCE, frozenset({"evidence_list"})),
    (Kind.GPU_RIM, frozenset({"id", "rim"})),
)
"""The first row whose keys an object has all of names its kind."""

_KEY_ANSWER: Final = frozenset({"key", "signature_chain"})
_TEMPORARY_CA: Final = frozenset({"temp_ca_cert", "temp_ca_key"})
_WITH_KEYS: Final = (_KEY_ANSWER, _TEMPORARY_CA)
"""Answers that hold a private key: a guest's GetKey, a KMS's GetTempCaCert."""
_SIGSTORE_BUNDLE: Final = frozenset({"mediaType", "verificationMaterial"})

_GPU_MEMBERS: Final = ("nvidia_payload", "gpu_evidence")
"""Where inference services put the evidence of their GPUs."""

_WRAPPED: Final[tuple[tuple[str, ...], ...]] = (
    ("gateway_attestation",),
    ("attestation", "evidence"),
    ("attestation", "evidence", "app_compose"),
    ("tee_participant_info", "Dstack"),
    ("Dstack",),
    ("quote",),
    ("collateral",),
    ("tcb_info",),
    ("intel_quote",),
    ("event_log",),
    ("info",),
    ("quote_collateral",),
    *((key,) for key in _GPU_MEMBERS),
)
"""Where reports carry evidence: near.ai (`gateway_attestation` around `intel_quote`, `event_log`
and `info`), near/mpc's nodes (`/public_data`: `Dstack` around a quote, collateral and tcb_info),
aci/1 (`attestation.evidence` in the shape of a GetQuote answer), Phala Cloud's verifier
(`quote_collateral`)."""

_LISTS: Final = ("model_attestations", "all_attestations")
"""Where near.ai's reports list attestations, each about a TD of its own."""

_GATEWAY: Final = "gateway_attestation"
REPORTED: Final = (_GATEWAY, *_LISTS)
"""What the names of the attesters begin with that one report is about."""

_WHITE_SPACE: Final = " \t\r\n\f\v"
_QUOTE_STARTS: Final = (b"\x04\x00", b"\x05\x00")
_APP_KEY_REPORT_DATA: Final = b"dip1::"
_PAGE_MARKS: Final = ("TCB Info", "TCB info is not public")


HANDED_OVER: Final = f"{KEY_HOLDER}handed-over"
"""The attester that evidence about a KMS is about, where files give it."""


def import_files(
    files: Iterable[tuple[str, bytes]],
    *,
    collected_at: int,
    of_kms: Iterable[tuple[str, bytes]] = (),
) -> Bundle:
    """A bundle of evidence handed over as files, given as (name, bytes).

    Everything in it is about one attester, which the empty subject stands for; but a vendor's
    account is about each instance that it lists, and a report that lists attestations about the TD
    of each. `of_kms` are files about the KMS of the app instead; a certificate that a KMS shows at
    its own address is about it in either place. `collected_at` is when the files were handed over,
    Unix seconds. Raises EvidenceError for the first file that is not evidence, and when there is no
    file.
    """
    builder = BundleBuilder()
    empty = True
    for name, raw in files:
        empty = False
        for attester, kind, blob in split_report(name, raw):
            for subject in [attester] if attester else _subjects(kind, blob, name):
                builder.add(kind, blob, source=name, collected_at=collected_at, subject=subject)
    for name, raw in of_kms:
        empty = False
        for kind, blob in recognise(name, raw):
            about = "" if kind in _OF_ITS_ANSWERS else HANDED_OVER
            builder.add(kind, blob, source=name, collected_at=collected_at, subject=about)
    if empty:
        raise EvidenceError("no evidence files were given", hint=f"accepted: {ACCEPTED}")
    return builder.build()


def split_report(name: str, raw: bytes) -> list[tuple[str, Kind, bytes]]:
    """Kind and bytes of the parts of a file, and the attester that each is about, "" for the only
    one. An attester of a report is named by its quote, so that no two reports share one. Raises
    EvidenceError for what is no evidence."""
    document = _listing(raw)
    if document is None:
        return [("", kind, blob) for kind, blob in recognise(name, raw)]
    entries = [
        (key, f"{name} at /{key}/{place}", value)
        for key in _LISTS
        for place, value in enumerate(codec.as_list(document.get(key) or [], f"{name} at /{key}"))
    ]
    own = {key: value for key, value in document.items() if key not in _LISTS}
    if document.get(_GATEWAY) or _has_quote(own):
        entries.insert(0, (_GATEWAY, name, own))
    found: list[tuple[str, Kind, bytes]] = []
    seen: set[str] = set()
    for key, where, value in entries:
        parts = recognise(where, json.dumps(value).encode("utf-8"))
        digest = hashlib.sha256(_quote_in(parts)).hexdigest()[:16]
        if digest not in seen:
            found.extend((f"{key}/{digest}", kind, blob) for kind, blob in parts)
        seen.add(digest)
    return found if len(seen) > 1 else [("", kind, blob) for _, kind, blob in found]


def _quote_in(parts: Recognised) -> bytes:
    """The quote among the parts of one attestation, b"" when there is none."""
    for kind, blob in parts:
        if kind is Kind.QUOTE:
            return blob
        if kind in (Kind.GET_QUOTE, Kind.APP_KEY_QUOTE):
            return parse_quote_answer(blob, "report").quote
    return b""


def _listing(raw: bytes) -> codec.JsonObject | None:
    """The document, if it is a report that lists attestations."""
    if not any(f'"{key}"'.encode() in raw for key in _LISTS):
        return None
    try:
        document = codec.parse_json_object(raw, "report", codec.MAX_LISTED)
    except EvidenceError:
        return None
    return document if any(document.get(key) for key in _LISTS) else None


def _has_quote(document: codec.JsonObject) -> bool:
    return any(document.get(key) for key in ("quote", "intel_quote"))


_OF_ITS_ANSWERS: Final = (Kind.KMS_META, Kind.KMS_ENV_KEY)
"""What a KMS says about itself and an app, rather than its guest about the KMS."""


def _subjects(kind: Kind, raw: bytes, name: str) -> list[str]:
    if kind is Kind.KMS_TLS:
        return [HANDED_OVER]
    if kind is not Kind.CLOUD_ATTESTATIONS:
        return [""]
    listed = parse_cloud_attestations(raw, name)
    ids = sorted({item.instance_id for item in listed if item.quote})
    return [f"cloud/{item}" for item in ids] if len(ids) > 1 else [""]


def recognise(name: str, raw: bytes) -> Recognised:
    """What a file is, and the bytes to keep of it; a provider's report gives several parts.

    Raises EvidenceError for a file that is empty, too large, truncated or of no known shape.
    """
    if not raw.strip():
        raise EvidenceError(f"{name}: the file is empty", hint="fetch or copy it again")
    if len(raw) > MAX_BLOB_BYTES:
        raise EvidenceError(f"{name}: {len(raw)} bytes, over the limit of {MAX_BLOB_BYTES}")
    text = _text(raw)
    if text is None:
        return _binary(name, raw)
    start = text.lstrip(_WHITE_SPACE)
    if start.startswith("<"):
        return _rim(name, raw) if RIM_MARK in text else _page(name, raw, text)
    if start.startswith("-----BEGIN CERTIFICATE-----"):
        return [(_kind_of_chain(name, raw, text), raw)]
    if start.startswith(PEM_CRL.decode("ascii")):
        return [(Kind.PCS_PCK_CRL, parse_crl(raw, name))]
    if start[0] in '{["':
        return _json(name, raw)
    return _place(name, raw) if is_token(start) else _spelled_out(name, text)


def _spelled_out(name: str, text: str) -> Recognised:
    """What a text spells in hex or base64."""
    decoded = _decoded(text)
    if decoded is None:
        raise _unknown(name, f"text that starts with {text.lstrip(_WHITE_SPACE)[:24]!a}")
    return _binary(name, decoded)


def _kind_of_chain(name: str, raw: bytes, text: str) -> Kind:
    """Whose certificates these are: AMD's, or by the use that the leaf was issued for."""
    if is_amds(raw, name):
        return Kind.PLATFORM_CERT
    usage = parse_chain(text, name).leaf.get(EXT_USAGE)
    return Kind.KMS_TLS if usage == KMS_USAGE else Kind.APP_CERT


def _text(raw: bytes) -> str | None:
    """The file as text; None for a binary one. Quotes and blobs hold zero bytes, text does not."""
    try:
        return None if b"\0" in raw else raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _decoded(text: str) -> bytes | None:
    """Bytes that a text spells in hex or base64, in one line or many; None when it does neither."""
    joined = text.translate(dict.fromkeys(map(ord, _WHITE_SPACE)))
    try:
        return codec.parse_hex(joined, "hex", allow_0x=True)
    except EvidenceError:
        pass
    try:
        return codec.parse_base64(joined, "base64")
    except EvidenceError:
        return None


def _binary(name: str, raw: bytes) -> Recognised:
    if raw[:2] in _QUOTE_STARTS:
        parse_quote(raw, name)
        return [(Kind.QUOTE, raw)]
    if other_platform(raw) is not None:
        parse_platform(raw, name)
        return [(Kind.PLATFORM_ATTESTATION, raw)]
    if raw[:1] and raw[0] in FIRST_BYTES:
        parse_attestation(raw, name)
        return [(Kind.ATTESTATION, raw)]
    if raw[:1] == DER_SEQUENCE:
        return [(Kind.PCS_PCK_CRL, parse_crl(raw, name))]
    raise _unknown(name, f"{len(raw)} bytes that start with {raw[:8].hex()}")


def _rim(name: str, raw: bytes) -> Recognised:
    parse_rim(raw, name)
    return [(Kind.GPU_RIM, raw)]


def _place(name: str, raw: bytes) -> Recognised:
    parse_place(raw, name)
    return [(Kind.PLACE, raw)]


def _page(name: str, raw: bytes, text: str) -> Recognised:
    if not any(mark in text for mark in _PAGE_MARKS):
        raise EvidenceError(
            f"{name}: a web page without TCB Info, such as an error page",
            hint="the metadata page is at https://<app id>-8090.<gateway domain>/",
        )
    return [(Kind.PAGE, raw)]


def _json(name: str, raw: bytes) -> Recognised:
    if _is_bundle_lines(raw):
        return _signed(name, raw)
    value = codec.parse_json(raw, name, codec.MAX_LISTED)
    if isinstance(value, str):
        return recognise(name, value.encode("utf-8"))
    if isinstance(value, dict):
        return _object(name, raw, value)
    return _array(name, raw, codec.as_list(value, name))


def _array(name: str, raw: bytes, items: list[JsonValue]) -> Recognised:
    if is_answer(items):
        parse_answer(raw, name)
        return [(Kind.GPU_VERDICT, raw)]
    if is_payload(items):
        return [(Kind.GPU_EVIDENCE, raw)]
    if items and all(isinstance(item, dict) and "imr" in item for item in items):
        return [(Kind.EVENT_LOG, raw)]
    octets = codec.octets(items)
    if octets is None:
        raise _unknown(name, "a JSON array of neither bytes nor events")
    return _binary(name, octets)


def _object(name: str, raw: bytes, document: codec.JsonObject) -> Recognised:
    if isinstance(document.get("quote"), str):
        return [*_quote_answer(name, raw, document), *_beside(name, document)]
    blob = document.get("attestation")
    if isinstance(blob, str):  # the answer of the guest agent's Attest
        return recognise(f"{name} at /attestation", blob.encode("utf-8"))
    if is_place(document) or is_proof(document) or is_key_set(document) or _holds_a_key(document):
        return _of_keys(name, raw, document)
    for kind, keys in _SHAPES:
        if keys <= document.keys():
            return [(kind, raw)]
    if document.keys() >= _SIGSTORE_BUNDLE or _is_attestations(document):
        return _signed(name, raw)
    parts = _unwrap(name, document)
    if parts:
        return parts
    if document.get("error"):
        raise EvidenceError(
            f"{name}: a server's error answer, not evidence: {ascii(document['error'])[:120]}",
            hint="fetch it again; the guest may be down, or its version may not have this call",
        )
    keys_seen = ", ".join(ascii(key)[1:-1][:32] for key in list(document)[:6])
    raise _unknown(name, f"a JSON object with the keys {keys_seen or '(none)'}")


def _holds_a_key(document: codec.JsonObject) -> bool:
    return any(document.keys() >= keys for keys in _WITH_KEYS)


def _of_keys(name: str, raw: bytes, document: codec.JsonObject) -> Recognised:
    """A key set; a statement about a place; or an attestation proof, and the quote in it. A private
    key is not kept."""
    if is_place(document):
        return _place(name, raw)
    if is_key_set(document):
        parse_keys(raw, name)
        return [(Kind.GPU_VERDICT_KEYS, raw)]
    if document.keys() >= _TEMPORARY_CA:
        raise EvidenceError(
            f"{name}: a KMS's temporary CA proves nothing: it gives the private key to anybody",
            hint="what counts is the certificate that the KMS shows at its own address",
        )
    if document.keys() >= _KEY_ANSWER:
        raise EvidenceError(
            f"{name}: a guest's answer to GetKey, which holds a private key: it is not kept",
            hint="`verify signer FILE` says who signed it",
        )
    proof = parse_proof(raw, name)
    return [(Kind.PROOF, raw), *([(Kind.QUOTE, proof.quote)] if proof.quote else [])]


def _beside(name: str, document: codec.JsonObject) -> Recognised:
    """What an inference service gives beside its quote: the guest agent's Info, its GPUs' evidence,
    and a quote of another report data."""
    found: Recognised = []
    info, other = document.get("info"), document.get("intel_quote")
    if isinstance(info, dict):
        found.extend(recognise(f"{name} at /info", _spelled(info)))
    if isinstance(other, str) and other and other != document.get("quote"):
        found.extend(recognise(f"{name} at /intel_quote", _spelled(other)))
    for key in _GPU_MEMBERS:
        if document.get(key):
            found.extend(recognise(f"{name} at /{key}", _spelled(document[key])))
    return found


def _signed(name: str, raw: bytes) -> Recognised:
    from verifier.evidence.images.sigstore import parse_bundles  # noqa: PLC0415 - only for such a file

    parse_bundles(raw, name)
    return [(Kind.SIGSTORE_BUNDLE, raw)]


def _is_bundle_lines(raw: bytes) -> bool:
    """Whether it is one Sigstore bundle a line, as `gh attestation download` writes them."""
    lines = raw.splitlines()
    return len(lines) > 1 and lines[0].startswith(b"{") and b'"verificationMaterial"' in lines[0]


def _is_attestations(document: codec.JsonObject) -> bool:
    """Whether it is GitHub's answer to "List attestations" (2022-11-28), not an empty one."""
    items = document.get("attestations")
    return isinstance(items, list) and any(
        isinstance(item, dict) and "bundle" in item for item in items
    )


def _quote_answer(name: str, raw: bytes, document: codec.JsonObject) -> Recognised:
    """A GetQuote-shaped answer. One without a log is kept as its quote alone, for a log in another
    file to join; so is one whose quote is not hex, which no guest agent writes."""
    spelled, log = codec.text_field(document, "quote", name), document.get("event_log")
    quote = _decoded(spelled)
    if quote is None:
        raise EvidenceError(f"{name}: its quote is neither hex nor base64")
    report_data = parse_quote(quote, f"{name}: quote").report_data
    if not log:
        return [(Kind.QUOTE, quote)]
    if spelled.removeprefix("0x").lower() != quote.hex():
        return [(Kind.QUOTE, quote), (Kind.EVENT_LOG, _spelled(log))]
    is_app_key = report_data.startswith(_APP_KEY_REPORT_DATA)
    return [(Kind.APP_KEY_QUOTE if is_app_key else Kind.GET_QUOTE, raw)]


def _unwrap(name: str, document: codec.JsonObject) -> Recognised:
    parts: Recognised = []
    for path in _WRAPPED:
        value: JsonValue = document
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value:
            parts.extend(recognise(f"{name} at /{'/'.join(path)}", _spelled(value)))
    return parts


def _spelled(value: JsonValue) -> bytes:
    """A member of a document as a file of its own: text as it is, anything else as JSON."""
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8")


def _unknown(name: str, seen: str) -> EvidenceError:
    return EvidenceError(
        f"{name}: not recognised as evidence: {seen}", hint=f"accepted: {ACCEPTED}"
    )
