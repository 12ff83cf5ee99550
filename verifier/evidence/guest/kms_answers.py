"""What a dstack KMS says and signs.

Messages under the KMS root key are keccak256 of (Dstack-TEE/dstack kms/src/crypto.rs):

    app key      "dstack-kms-issued:" || app id (20) || app root key (33, compressed)
    env key v0   "dstack-env-encrypt-pubkey:" || app id || X25519 key (32)
    env key v1   "dstack-env-encrypt-pubkey:" || app id || u64be(timestamp) || X25519 key

and under an app root key (guest-agent/src/rpc_service.rs, get_key):

    derived key  keccak256( purpose || ":" || hex(derived key) )

or, of a key that an app asked for by `/v1/GetKey` (docs/guest-api-v1.md, dstack 0.6.0), where LP(x)
is u32be(len(x)) || x:

    key claim    keccak256( LP("dstack-guest-v1-key-claim") || LP(algorithm) || LP(domain)
                            || LP(derived key) )

Neither is ever the other: the first ends with ":" and hex digits, the second with a length, whose
first byte is 0, and the key.

An env-encrypt key is handed to anybody who names an app id, and a v0 signature has no time in it:
it identifies the KMS, it says nothing about a TD.

A KMS that made its keys itself may keep an attestation of that day (kms/src/onboard_service.rs,
bootstrap), whose report data is

    keccak256("dstack-kms-genereted-keys-v1:" || hex(CA key) || ";" || hex(root key) || ";") || 0^32

spelled as the KMS spells it; one that was given its keys by another has none.
"""

import re
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.chain.ethereum import (
    COMPRESSED_KEY_SIZE,
    SIGNATURE_SIZE,
    keccak256,
    public_keys,
)
from verifier.evidence.td.attestation import parse_attestation
from verifier.evidence.td.event_log import Event
from verifier.model.result import JsonValue
from verifier.patterns import pattern

APP_ID_SIZE: Final = 20
DIGEST_SIZE: Final = 32
_LINKS: Final = ("app_signature", "kms_signature")
_CLAIM: Final = b"dstack-guest-v1-key-claim"
_ALGORITHMS: Final = {COMPRESSED_KEY_SIZE: "secp256k1", 32: "ed25519"}
"""The algorithm of a derived key, by the length of its public key."""
_PURPOSE: Final = pattern(r"[\x20-\x39\x3b-\x7e]{0,128}", re.ASCII)


class KmsMeta(Struct, frozen=True, kw_only=True):
    """A GetMeta answer. Only `ca_cert` and `k256_pubkey` exist in every version.

    ca_cert         the certificate of its CA, PEM; "" when absent
    k256_pubkey     its root key, compressed secp256k1, 33 bytes
    contract        the address of its contract; "" when absent
    chain_id        the EIP-155 id of that contract's chain; None when absent
    gateway_app_id  the app id of its gateway, as text; "" when absent
    is_dev          whether it says that it is a development KMS; None when absent
    """

    ca_cert: str
    k256_pubkey: bytes
    contract: str
    chain_id: int | None
    gateway_app_id: str
    is_dev: bool | None


class EnvKey(Struct, frozen=True, kw_only=True):
    """A GetAppEnvEncryptPubKey answer; `timestamp` and `signature_v1` since dstack 0.5.6, both or
    neither."""

    public_key: bytes
    signature: bytes
    timestamp: int | None
    signature_v1: bytes | None


class SignatureChain(Struct, frozen=True, kw_only=True):
    """A key chain: derived key ← app root key ← KMS root key.

    The keys that count are those that the signatures recover to, not those that the document
    claims. An oracle's document says what it signed, too.

    app_id              20 bytes; b"" where the document names no app
    purpose             what the derived key is for, ASCII without a colon; "" when absent
    algorithm           of a key that was asked for by `/v1/GetKey`, `secp256k1` or `ed25519`; ""
                        for any other, which has a purpose
    domain              the domain of such a key; None where the document does not name it
    derived_public_key  the derived key, as the app root key signs it
    app_signature       by the app root key over the derived key, 65 bytes
    kms_signature       by the KMS root key over the app root key, 65 bytes
    app_public_key      the app root key that the document claims, compressed, 33 bytes; b"" for
                        none
    kms_public_key      the KMS root key that it claims, compressed, 33 bytes; b"" for none
    kms_root_address    the Ethereum address of the KMS root key that it claims; "" for none
    message             the 32 bytes that an oracle signed (EIP-191); b"" for none
    signature           by the derived key over `message`, 65 bytes; b"" for none
    signer              the Ethereum address of the derived key that it claims; "" for none
    """

    app_id: bytes
    purpose: str
    derived_public_key: bytes
    app_signature: bytes
    kms_signature: bytes
    app_public_key: bytes
    kms_public_key: bytes
    kms_root_address: str
    message: bytes = b""
    signature: bytes = b""
    signer: str = ""
    algorithm: str = ""
    domain: str | None = None

    @property
    def digest(self) -> bytes:
        """What the app root key signs. Raises EvidenceError where the domain is not known."""
        if not self.algorithm:
            return derived_key_digest(self.purpose, self.derived_public_key)
        if self.domain is None:
            raise EvidenceError("the key chain names no domain, which its signature is over")
        return key_claim_digest(self.algorithm, self.domain, self.derived_public_key)


class Bootstrap(Struct, frozen=True, kw_only=True):
    """What a KMS keeps of the day when it made its keys.

    ca_pubkey    its CA key, DER SubjectPublicKeyInfo
    k256_pubkey  its root key, compressed secp256k1, 33 bytes
    quote        the quote of the TD that made them
    log          the event log of that TD, as JSON or the text of it; None without one
    events       the event log where it is not JSON, in place of `log`; None where it is
    vm_config    the machine that this TD stated, JSON text; "" when absent
    """

    ca_pubkey: bytes
    k256_pubkey: bytes
    quote: bytes
    log: JsonValue | bytes = None
    events: tuple[Event, ...] | None = None
    vm_config: str = ""

    @property
    def report_data(self) -> bytes:
        """What the quote's report data is where that TD made these keys."""
        return bootstrap_report_data(self.ca_pubkey, self.k256_pubkey)


def bootstrap_report_data(ca_pubkey: bytes, k256_pubkey: bytes) -> bytes:
    """The report data of a TD that made these two keys."""
    text = f"dstack-kms-genereted-keys-v1:{ca_pubkey.hex()};{k256_pubkey.hex()};"
    return keccak256(text.encode("ascii")) + bytes(32)


def app_key_digest(app_id: bytes, app_public_key: bytes) -> bytes:
    """What the KMS signs to vouch for an app root key."""
    return keccak256(b"dstack-kms-issued:" + app_id + app_public_key)


def env_key_digest(app_id: bytes, public_key: bytes, timestamp: int | None) -> bytes:
    """What the KMS signs to vouch for an env-encrypt key; `timestamp` None is version 0."""
    when = b"" if timestamp is None else timestamp.to_bytes(8, "big")
    return keccak256(b"dstack-env-encrypt-pubkey:" + app_id + when + public_key)


def derived_key_digest(purpose: str, derived_public_key: bytes) -> bytes:
    """What an app root key signs to vouch for a derived key."""
    return keccak256(purpose.encode("ascii") + b":" + derived_public_key.hex().encode("ascii"))


def key_claim_digest(algorithm: str, domain: str, derived_public_key: bytes) -> bytes:
    """What an app root key signs to vouch for a key of `/v1/GetKey`."""
    fields = (_CLAIM, algorithm.encode("ascii"), domain.encode("utf-8"), derived_public_key)
    return keccak256(b"".join(len(item).to_bytes(4, "big") + item for item in fields))


def parse_meta(raw: bytes, what: str) -> KmsMeta:
    """Parse a GetMeta answer. Raises EvidenceError."""
    document = codec.parse_json_object(raw, what)
    chain_id, is_dev = document.get("chain_id"), document.get("is_dev")
    return KmsMeta(
        ca_cert=codec.text_field(document, "ca_cert", what),
        k256_pubkey=codec.parse_hex(
            document.get("k256_pubkey"), f"{what}.k256_pubkey", length=COMPRESSED_KEY_SIZE
        ),
        contract=codec.text_field(document, "kms_contract_address", what),
        chain_id=None if chain_id is None else codec.as_int(chain_id, f"{what}.chain_id"),
        gateway_app_id=codec.text_field(document, "gateway_app_id", what),
        is_dev=is_dev if isinstance(is_dev, bool) else None,
    )


def parse_bootstrap(raw: bytes, what: str) -> Bootstrap | None:
    """The `bootstrap_info` of a GetMeta answer, None where it has none. Raises EvidenceError.

    Releases up to 0.5.5 write a quote and its log, later ones a versioned attestation.
    """
    document = codec.parse_json_object(raw, what).get("bootstrap_info")
    if not document:
        return None
    what = f"{what}.bootstrap_info"
    info = codec.as_object(document, what)
    ca_pubkey = codec.parse_hex(info.get("ca_pubkey"), f"{what}.ca_pubkey")
    k256_pubkey = codec.parse_hex(
        info.get("k256_pubkey"), f"{what}.k256_pubkey", length=COMPRESSED_KEY_SIZE
    )
    attestation = info.get("attestation")
    if attestation:
        place = f"{what}.attestation"
        blob = parse_attestation(codec.parse_hex(attestation, place), place)
        return Bootstrap(
            ca_pubkey=ca_pubkey,
            k256_pubkey=k256_pubkey,
            quote=blob.quote,
            events=blob.events,
            vm_config=blob.config,
        )
    log = info.get("eventlog")
    return Bootstrap(
        ca_pubkey=ca_pubkey,
        k256_pubkey=k256_pubkey,
        quote=codec.parse_hex(info.get("quote"), f"{what}.quote"),
        log=codec.parse_hex(log, f"{what}.eventlog") if log else None,
    )


def parse_env_key(raw: bytes, what: str) -> EnvKey:
    """Parse a GetAppEnvEncryptPubKey answer. Raises EvidenceError, also for a signature of the
    second version without its time, and for a time that nothing signs."""
    document = codec.parse_json_object(raw, what)
    timestamp, signature_v1 = document.get("timestamp"), document.get("signature_v1")
    moment = None if timestamp is None else codec.as_int(timestamp, f"{what}.timestamp")
    if moment is not None and not 0 <= moment < 1 << 64:
        raise EvidenceError(f"{what}.timestamp: {moment} is out of range")
    if (moment is None) != (not signature_v1):
        raise EvidenceError(f"{what}: one of timestamp and signature_v1 is there without the other")
    return EnvKey(
        public_key=codec.parse_hex(document.get("public_key"), f"{what}.public_key", length=32),
        signature=codec.parse_hex(
            document.get("signature"), f"{what}.signature", length=SIGNATURE_SIZE
        ),
        timestamp=moment,
        signature_v1=codec.parse_hex(signature_v1, f"{what}.signature_v1", length=SIGNATURE_SIZE)
        if signature_v1
        else None,
    )


def parse_signature_chain(raw: bytes, what: str) -> SignatureChain:
    """Parse a key chain document. Raises EvidenceError.

    The shapes in use are flat (`app_id, purpose, derived_public_key, app_signature,
    kms_signature`; of a key of `/v1/GetKey` with `domain, algorithm` in place of a purpose, and
    `public_key, signature_chain` as its answer has them) and an oracle's proof
    (`signatureChain{derivedPubkey, appSignature, kmsSignature}` beside `appId`, which may be null,
    and what the oracle signed: `messageHash, signature, signerAddress`).
    """
    document = codec.parse_json_object(raw, what)
    nested = document.get("signatureChain")
    chain = codec.as_object(nested, f"{what}.signatureChain") if nested is not None else {}
    links = dict(zip(_LINKS, _links(document, what), strict=False))

    def hex_of(*names: str, length: int | None = None, required: bool = True) -> bytes:
        value = next((s[n] for s in (document, chain, links) for n in names if s.get(n)), None)
        if value is None and not required:
            return b""
        return codec.parse_hex(value, f"{what}.{names[0]}", length=length, allow_0x=True)

    domain, algorithm = document.get("domain"), codec.text_field(document, "algorithm", what)
    claimed = bool(domain is not None or algorithm or (links and "public_key" in document))
    purpose = codec.text_field(document, "purpose", what) or ("ethereum" if chain else "")
    if not _PURPOSE.fullmatch(purpose):
        raise EvidenceError(f"{what}.purpose: {purpose!r} is not ASCII text without a colon")
    key_names = ("public_key", "derived_public_key") if claimed else ("derived_public_key",)
    found = SignatureChain(
        app_id=hex_of("app_id", "appId", length=APP_ID_SIZE, required=False),
        purpose=purpose,
        derived_public_key=hex_of(*key_names, "derivedPubkey"),
        app_signature=hex_of("app_signature", "appSignature", length=SIGNATURE_SIZE),
        kms_signature=hex_of("kms_signature", "kmsSignature", length=SIGNATURE_SIZE),
        app_public_key=hex_of("app_public_key", length=COMPRESSED_KEY_SIZE, required=False),
        kms_public_key=hex_of("kms_k256_public_key", length=COMPRESSED_KEY_SIZE, required=False),
        kms_root_address=codec.text_field(document, "kms_root_address", what),
        message=hex_of("messageHash", length=DIGEST_SIZE, required=False) if chain else b"",
        signature=hex_of("signature", length=SIGNATURE_SIZE, required=False) if chain else b"",
        signer=codec.text_field(document, "signerAddress", what),
    )
    return _with_claim(found, domain, algorithm, what) if claimed else found


def _links(document: codec.JsonObject, what: str) -> list[JsonValue]:
    """The two signatures of a `signature_chain`, as they stand; () without one."""
    listed = document.get("signature_chain")
    links = [] if listed is None else codec.as_list(listed, f"{what}.signature_chain")
    if len(links) not in (0, len(_LINKS)):
        raise EvidenceError(f"{what}.signature_chain: {len(links)} signatures, expected 2")
    return links


def _with_claim(
    chain: SignatureChain, domain: JsonValue, algorithm: str, what: str
) -> SignatureChain:
    """A chain as one of `/v1/GetKey`: the app root key signs algorithm and domain with the key."""
    if chain.purpose:
        raise EvidenceError(f"{what}: it names a purpose and a domain: one of the two is signed")
    known = _ALGORITHMS.get(len(chain.derived_public_key), "")
    if not known or algorithm not in ("", known):
        raise EvidenceError(f"{what}.algorithm: {algorithm!a} has no such public key")
    named = codec.as_str(domain, f"{what}.domain") if domain is not None else None
    return replace(chain, algorithm=known, domain=named)


def parse_chains(raw: bytes, what: str) -> tuple[SignatureChain, ...]:
    """The key chain in a document of any shape that is known, in each reading that it has. Raises
    EvidenceError."""
    document = codec.parse_json_object(raw, what)
    if "key" in document and "signature_chain" in document:
        return parse_key_answer(raw, what)
    return (parse_signature_chain(raw, what),)


def parse_key_answer(raw: bytes, what: str) -> tuple[SignatureChain, ...]:
    """The chains in the answer of a guest's own GetKey: `key`, which is private, and
    `signature_chain`, of the app's root key and of the KMS. Of `/v1/GetKey` it has the `public_key`
    too, which is signed with a domain that it does not name; of any other there is one chain for
    each algorithm that the key may be of, since it names neither that nor app or purpose. Raises
    EvidenceError."""
    document = codec.parse_json_object(raw, what)
    links = _links(document, what)
    if not links:
        raise EvidenceError(f"{what}.signature_chain: no signatures, expected 2")
    app_signature, kms_signature = (
        codec.parse_hex(link, f"{what}.signature_chain", length=SIGNATURE_SIZE) for link in links
    )
    secret = codec.parse_hex(document.get("key"), f"{what}.key", length=DIGEST_SIZE, allow_0x=True)
    stated = codec.parse_hex(document.get("public_key") or "", f"{what}.public_key")
    derived = public_keys(secret, f"{what}.key")
    if stated and stated not in derived:
        raise EvidenceError(f"{what}.public_key: it is not that of the key")
    found = tuple(
        SignatureChain(
            app_id=b"",
            purpose="",
            derived_public_key=public,
            app_signature=app_signature,
            kms_signature=kms_signature,
            app_public_key=b"",
            kms_public_key=b"",
            kms_root_address="",
        )
        for public in derived
        if stated in (b"", public)
    )
    return tuple(_with_claim(item, None, "", what) for item in found) if stated else found
