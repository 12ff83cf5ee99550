"""A Sigstore instance of our own: CA, CT log and transparency log, each one key of a label.

It signs what the public-good instance would never sign: statements about images of ours, by
workflows that do not exist, at times of our choosing. Only its own trusted root makes them good.
Formats: RFC 6962 3.2 and 3.3 (SCT), sigstore/rekor types/dsse 0.0.1 and signed entry timestamps,
transparency-dev/formats log (checkpoints), sigstore/fulcio docs/oid-info.md (extensions).
"""

import base64
import hashlib
import json
import struct
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct
from msgspec.structs import replace

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.lab.pki import key_usage, moment, serial, tlv
from verifier.model.result import JsonValue

ISSUER: Final = "https://token.actions.githubusercontent.com"
REPOSITORY: Final = "https://github.com/lab--invalid/web"
"""Nobody can register an account with two hyphens in a row."""

COMMIT: Final = keys.labelled("commit of the image", 20).hex()
STATEMENT: Final = "application/vnd.in-toto+json"
LIFETIME: Final = 600
"""Seconds that a certificate of Fulcio's lives."""

_SCT_LIST: Final = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_FULCIO: Final = "1.3.6.1.4.1.57264.1."
_UTF8, _OCTETS = 0x0C, 0x04
_FROM, _UNTIL = 1609459200, 2556144000  # 2021 to 2050


class Workflow(Struct, frozen=True, kw_only=True):
    """Who signs: what the OIDC issuer says of a workflow's run."""

    repository: str = REPOSITORY
    commit: str = COMMIT
    runner: str = "github-hosted"
    issuer: str = ISSUER
    ref: str = "refs/heads/main"

    @property
    def identity(self) -> str:
        """The certificate's subject alternative name."""
        return f"{self.repository}/.github/workflows/build.yml@refs/heads/main"


def provenance(digest: str, repository: str = REPOSITORY, commit: str = COMMIT) -> JsonObject:
    """An in-toto statement with SLSA provenance v1 about one sha256 digest (hex)."""
    build: JsonObject = {
        "buildType": "https://actions.github.io/buildtypes/workflow/v1",
        "externalParameters": {"workflow": {"repository": repository, "ref": "refs/heads/main"}},
        "resolvedDependencies": [
            {"uri": f"git+{repository}@refs/heads/main", "digest": {"gitCommit": commit}}
        ],
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "app", "digest": {"sha256": digest}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"buildDefinition": build},
    }


class Sigstore(Struct, frozen=True, kw_only=True):
    """The instance of a label; two labels share no key.

    `certified_at` is when certificates begin, `logged_at` when entries arrive (Unix seconds).
    """

    certified_at: int
    logged_at: int
    label: str = "sigstore"

    @property
    def trusted_root(self) -> bytes:
        """The trusted root of this instance (JSON)."""
        authority: JsonValue = {
            "subject": {"organization": "lab", "commonName": "lab"},
            "uri": "https://ca.lab.invalid",
            "certChain": {"certificates": [{"rawBytes": _b64(_der(self.authority()))}]},
            "validFor": {"start": "2021-01-01T00:00:00Z"},
        }
        root: JsonObject = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log(self._key("log"))],
            "ctlogs": [_log(self._key("ct"))],
            "certificateAuthorities": [authority],
            "timestampAuthorities": [],
        }
        return _canonical(root)

    def at(self, *, certified: int, logged: int) -> "Sigstore":
        """The same instance at another time."""
        return replace(self, certified_at=certified, logged_at=logged)

    def sign(
        self,
        statement: JsonValue,
        workflow: Workflow | None = None,
        payload_type: str = STATEMENT,
    ) -> JsonObject:
        """A bundle over a statement, signed by a run of a workflow (the lab's own by default)."""
        payload = _canonical(statement)
        signer = self._key(f"run {_sha256(payload).hex()}")
        certificate = self.certify(signer.public_key(), workflow or Workflow())
        signature = _signed(signer, pre_authentication(payload_type, payload))
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        body = dsse_body(payload, _b64(signature), _b64(pem))
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": _b64(_der(certificate))},
                "tlogEntries": [self.entry(body)],
            },
            "dsseEnvelope": {
                "payload": _b64(payload),
                "payloadType": payload_type,
                "signatures": [{"sig": _b64(signature)}],
            },
        }

    def _key(self, role: str) -> ec.EllipticCurvePrivateKey:
        return keys.p256(f"{self.label} {role}")

    def entry(self, body: bytes, earlier: tuple[bytes, ...] = ()) -> JsonObject:
        """The last entry of a log, after these bodies, as a bundle holds it."""
        key = self._key("log")
        log_id, leaves = _key_id(key), (*earlier, body)
        promise: JsonObject = {
            "body": _b64(body),
            "integratedTime": self.logged_at,
            "logID": log_id.hex(),
            "logIndex": len(earlier),
        }
        root = _tree_hash(leaves)
        note = f"log.lab.invalid - 1\n{len(leaves)}\n{_b64(root)}\n"
        line = log_id[:4] + _signed(key, note.encode())
        return {
            "logIndex": str(len(earlier)),
            "logId": {"keyId": _b64(log_id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(self.logged_at),
            "inclusionPromise": {"signedEntryTimestamp": _b64(_signed(key, _canonical(promise)))},
            "inclusionProof": {
                "logIndex": str(len(earlier)),
                "rootHash": _b64(root),
                "treeSize": str(len(leaves)),
                "hashes": [_b64(item) for item in _path_of_last(leaves)],
                "checkpoint": {"envelope": f"{note}\n\u2014 log.lab.invalid {_b64(line)}\n"},
            },
            "canonicalizedBody": _b64(body),
        }

    def authority(self) -> x509.Certificate:
        """The certificate that all others chain to."""
        key = self._key("ca")
        builder = _builder(key.public_key(), key, "ca", _FROM, _UNTIL)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(key_usage(is_ca=True), critical=True)
        return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True)

    def certify(self, signer: ec.EllipticCurvePublicKey, workflow: Workflow) -> x509.Certificate:
        """The certificate of a workflow's run for a key, with its place in the CT log promised."""
        ca, begin = self._key("ca"), self.certified_at
        name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(workflow.identity)])
        code = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
        builder = _builder(signer, ca, "", begin, begin + LIFETIME)
        builder = builder.add_extension(key_usage(is_ca=False), critical=True)
        builder = builder.add_extension(code, critical=False)
        builder = builder.add_extension(name, critical=True)
        for number, text in (
            (8, workflow.issuer),
            (11, workflow.runner),
            (12, workflow.repository),
            (13, workflow.commit),
            (14, workflow.ref),
        ):
            oid = x509.ObjectIdentifier(f"{_FULCIO}{number}")
            value = x509.UnrecognizedExtension(oid, tlv(_UTF8, text.encode()))
            builder = builder.add_extension(value, critical=False)
        before = builder.sign(ca, hashes.SHA256(), ecdsa_deterministic=True)
        scts = x509.UnrecognizedExtension(_SCT_LIST, tlv(_OCTETS, self._sct_list(before)))
        return builder.add_extension(scts, critical=False).sign(
            ca, hashes.SHA256(), ecdsa_deterministic=True
        )

    def _sct_list(self, certificate: x509.Certificate) -> bytes:
        """The SCT list of a certificate that has none yet: a TLS vector in a TLS vector."""
        tbs, milliseconds = certificate.tbs_certificate_bytes, self.certified_at * 1000
        entry = _key_id(self._key("ca")) + len(tbs).to_bytes(3, "big") + tbs
        signed = struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + bytes(2)
        signature = _signed(self._key("ct"), signed)
        sct = b"\0" + _key_id(self._key("ct")) + struct.pack("!QH", milliseconds, 0)
        sct += bytes((4, 3)) + len(signature).to_bytes(2, "big") + signature
        listed = len(sct).to_bytes(2, "big") + sct
        return len(listed).to_bytes(2, "big") + listed


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature is over (secure-systems-lab/dsse protocol.md, PAE)."""
    return f"DSSEv1 {len(payload_type)} {payload_type} {len(payload)} ".encode() + payload


def dsse_body(payload: bytes, signature: str, verifier: str, envelope: bytes = b"") -> bytes:
    """What the log keeps of an envelope: hashes, and the signature with who verifies it (base64 of
    DER and of PEM)."""
    body: JsonObject = {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": {
                "algorithm": "sha256",
                "value": _sha256(envelope).hex() if envelope else "00" * 32,
            },
            "payloadHash": {"algorithm": "sha256", "value": _sha256(payload).hex()},
            "signatures": [{"signature": signature, "verifier": verifier}],
        },
    }
    return _canonical(body)


def _tree_hash(leaves: tuple[bytes, ...]) -> bytes:
    """RFC 6962 2.1, of one leaf and more."""
    if len(leaves) == 1:
        return _sha256(b"\0" + leaves[0])
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return _sha256(b"\1" + _tree_hash(leaves[:half]) + _tree_hash(leaves[half:]))


def _path_of_last(leaves: tuple[bytes, ...]) -> list[bytes]:
    """RFC 6962 2.1.1, of the last leaf: the hashes from its neighbour upwards."""
    if len(leaves) == 1:
        return []
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return [*_path_of_last(leaves[half:]), _tree_hash(leaves[:half])]


def _builder(
    subject: ec.EllipticCurvePublicKey,
    issuer: ec.EllipticCurvePrivateKey,
    name: str,
    begin: int,
    end: int,
) -> x509.CertificateBuilder:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
    own = x509.SubjectKeyIdentifier.from_public_key(subject)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
        .public_key(subject)
        .serial_number(serial(f"sigstore {keys.spki(subject).hex()}"))
        .not_valid_before(moment(begin))
        .not_valid_after(moment(end))
        .add_extension(own, critical=False)
        .add_extension(above, critical=False)
    )


def _log(key: ec.EllipticCurvePrivateKey) -> JsonObject:
    return {
        "baseUrl": "https://log.lab.invalid",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": _b64(keys.spki(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": "2021-01-01T00:00:00Z"},
        },
        "logId": {"keyId": _b64(_key_id(key))},
    }


def _signed(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA P-256 over SHA-256 in DER, RFC 6979 nonces."""
    return key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return _sha256(keys.spki(key))


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _canonical(document: JsonValue) -> bytes:
    """RFC 8785 JSON, for documents of ASCII texts and integers, as all of these are."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii")


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
