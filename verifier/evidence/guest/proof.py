"""The attestation proof that an app publishes at `/.well-known/attestation`: its own words.

    version, timestamp
    source          repository, branch, commit, docker_compose
    deployment      phala_node_id, kms_id, custom_app_id, cvm_id
    attestation     td_quote, mr_td, mr_config_id, rtmr [4]
    kms_signature   app_public_key, kms_signature, kms_root_address
    verification_url

Every part may be absent. Bytes are hex, with 0x or without, or base64, whatever the other parts
are. Nobody signed the document: what is in it counts where it proves itself, or equals what was
measured.
"""

from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain.ethereum import COMPRESSED_KEY_SIZE, SIGNATURE_SIZE
from verifier.evidence.guest.kms_answers import APP_ID_SIZE
from verifier.model.result import JsonValue

PATH: Final = "/.well-known/attestation"
REGISTER_SIZE: Final = 48
_REGISTERS: Final = 4
_MARKS: Final = (
    ("attestation", ("td_quote", "mr_td", "mr_config_id", "rtmr")),
    ("kms_signature", ("app_public_key", "kms_signature", "kms_root_address")),
    ("deployment", ("custom_app_id", "cvm_id", "kms_id")),
)


class Proof(Struct, frozen=True, kw_only=True):
    """A proof as it is written.

    quote             the TD quote; b"" when absent
    registers         (name in tcb_info, 48 bytes) of MRTD, RTMR0-3 and MRCONFIGID; () when absent
    app_id            20 bytes; b"" when absent
    app_public_key    the app's root key, compressed secp256k1, 33 bytes; b"" when absent
    kms_signature     the KMS's signature over that key, 65 bytes; b"" when absent
    kms_root_address  the Ethereum address of the KMS's root key; "" when absent
    repository        URL of the source; "" when absent
    commit            the commit of the source; "" when absent
    branch            the branch of the source; "" when absent
    kms_id            what it calls the KMS; "" when absent
    cvm_id            what it calls the guest; "" when absent
    timestamp         when it says that it was made; "" when absent
    """

    quote: bytes
    registers: tuple[tuple[str, bytes], ...]
    app_id: bytes
    app_public_key: bytes
    kms_signature: bytes
    kms_root_address: str
    repository: str
    commit: str
    branch: str = ""
    kms_id: str = ""
    cvm_id: str = ""
    timestamp: str = ""


def is_proof(document: codec.JsonObject) -> bool:
    """Whether a document has a part that only such proofs have."""
    return any(
        isinstance(part := document.get(name), dict) and any(key in part for key in keys)
        for name, keys in _MARKS
    )


def parse_proof(raw: bytes, what: str) -> Proof:
    """Parse a proof. Raises EvidenceError, also for one that has no part of a proof."""
    document = codec.parse_json_object(raw, what)
    if not is_proof(document):
        raise EvidenceError(f"{what}: no attestation proof: it has none of its parts")
    source, deployment, attestation, signed = (
        _part(document, name, what)
        for name in ("source", "deployment", "attestation", "kms_signature")
    )
    rtmrs = attestation.get("rtmr")
    listed = [] if rtmrs is None else codec.as_list(rtmrs, f"{what}.attestation.rtmr")
    if len(listed) not in (0, _REGISTERS):
        raise EvidenceError(f"{what}.attestation.rtmr: {len(listed)} registers, expected 4")
    named = [
        ("mrtd", attestation.get("mr_td")),
        *((f"rtmr{index}", value) for index, value in enumerate(listed)),
        ("mr_config_id", attestation.get("mr_config_id")),
    ]
    return Proof(
        quote=_bytes(attestation.get("td_quote"), f"{what}.attestation.td_quote"),
        registers=tuple(
            (name, _bytes(value, f"{what}.attestation: {name}", REGISTER_SIZE))
            for name, value in named
            if value is not None
        ),
        app_id=_bytes(deployment.get("custom_app_id"), f"{what}: custom_app_id", APP_ID_SIZE),
        app_public_key=_bytes(
            signed.get("app_public_key"), f"{what}: app_public_key", COMPRESSED_KEY_SIZE
        ),
        kms_signature=_bytes(signed.get("kms_signature"), f"{what}: kms_signature", SIGNATURE_SIZE),
        kms_root_address=codec.text_field(signed, "kms_root_address", what),
        repository=codec.text_field(source, "repository", what),
        commit=codec.text_field(source, "commit", what),
        branch=_words(source.get("branch")),
        kms_id=_words(deployment.get("kms_id")),
        cvm_id=_words(deployment.get("cvm_id")),
        timestamp=_words(document.get("timestamp")),
    )


def quote_of_proof(raw: bytes, what: str) -> bytes:
    """The quote in a proof, b"" for none. Raises EvidenceError."""
    return parse_proof(raw, what).quote


def _part(document: codec.JsonObject, name: str, what: str) -> codec.JsonObject:
    value = document.get(name)
    return {} if value is None else codec.as_object(value, f"{what}.{name}")


def _words(value: JsonValue) -> str:
    """A name that nothing is decoded from, as text; "" for what is neither text nor a number."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _bytes(value: JsonValue, what: str, size: int | None = None) -> bytes:
    """Bytes in hex or base64. A text that is both counts as the one that has the right size."""
    if value is None or value == "":
        return b""
    text = codec.as_str(value, what)
    readings = []
    for decode in (_hex, codec.parse_base64):
        try:
            readings.append(decode(text, what))
        except EvidenceError:
            continue
    fitting = [raw for raw in readings if size is None or len(raw) == size]
    if not fitting:
        expected = f"{size} bytes" if size is not None else "bytes"
        raise EvidenceError(f"{what}: neither hex nor base64 of {expected}: {text[:24]!a}")
    return fitting[0]


def _hex(text: str, what: str) -> bytes:
    return codec.parse_hex(text, what, allow_0x=True)
