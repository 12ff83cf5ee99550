"""A Sigstore instance of our own: CA, CT log and transparency log, each one key.

It signs what the public-good instance would never sign for a test: statements about images of ours,
by workflows that do not exist, at times of our choosing. Formats: RFC 6962 3.2 and 3.3 (SCT),
sigstore/rekor types/dsse 0.0.1 and signed entry timestamps, transparency-dev/formats log
(checkpoints), sigstore/fulcio docs/oid-info.md (certificate extensions).
"""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

NOW = 1_760_000_000
REPOSITORY = "https://github.com/example/app"
ISSUER = "https://token.actions.githubusercontent.com"
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


@dataclass(frozen=True)
class Workflow:
    """Who signs: what the OIDC issuer says of a workflow's run."""

    repository: str = REPOSITORY
    commit: str = "5a" * 20
    runner: str = "github-hosted"
    issuer: str = ISSUER

    @property
    def identity(self) -> str:
        """The certificate's subject alternative name."""
        return f"{self.repository}/.github/workflows/build.yml@refs/heads/main"


def provenance(digest: str, repository: str = REPOSITORY, commit: str = "5a" * 20) -> Any:
    """A SLSA provenance statement about one digest (hex)."""
    build = {
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


def key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class SigstoreWorld:
    """The instance. `certified_at` is when certificates begin, `logged_at` when entries arrive."""

    certified_at: int = NOW
    logged_at: int = NOW + 60
    ca_key: ec.EllipticCurvePrivateKey = field(default_factory=key)
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=key)
    log_key: ec.EllipticCurvePrivateKey = field(default_factory=key)

    def trusted_root(self) -> bytes:
        """The trusted root of this instance, as JSON."""
        window = {"validFor": {"start": "2021-01-01T00:00:00Z"}}
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [_log(self.log_key)],
                "ctlogs": [_log(self.ct_key)],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "test", "commonName": "test"},
                        "uri": "https://ca.test",
                        "certChain": {"certificates": [{"rawBytes": _b64(_der(self._ca()))}]},
                        **window,
                    }
                ],
                "timestampAuthorities": [],
            }
        ).encode()

    def sign(
        self,
        statement: Any,
        workflow: Workflow | None = None,
        payload_type: str = "application/vnd.in-toto+json",
    ) -> dict[str, Any]:
        """A bundle over an in-toto statement."""
        payload = json.dumps(statement).encode()
        signer = key()
        certificate = self._certificate(signer, workflow or Workflow())
        head = f"DSSEv1 {len(payload_type)} {payload_type} {len(payload)} ".encode()
        signature = signer.sign(head + payload, ec.ECDSA(hashes.SHA256()))
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        body: dict[str, Any] = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": "00" * 32},
                "payloadHash": {"algorithm": "sha256", "value": _sha256(payload).hex()},
                "signatures": [{"signature": _b64(signature), "verifier": _b64(pem)}],
            },
        }
        envelope = {"payload": _b64(payload), "payloadType": payload_type}
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": _b64(_der(certificate))},
                "tlogEntries": [self._entry(rfc8785.dumps(body))],
            },
            "dsseEnvelope": {**envelope, "signatures": [{"sig": _b64(signature)}]},
        }

    def at(self, *, certified: int, logged: int) -> "SigstoreWorld":
        """The same instance at another time."""
        return replace(self, certified_at=certified, logged_at=logged)

    def _entry(self, body: bytes) -> dict[str, Any]:
        """A log whose only entry this is."""
        log_id = _key_id(self.log_key)
        promise = rfc8785.dumps(
            {
                "body": _b64(body),
                "integratedTime": self.logged_at,
                "logID": log_id.hex(),
                "logIndex": 0,
            }
        )
        root = _sha256(b"\0" + body)
        note = f"log.test - 1\n1\n{_b64(root)}\n"
        signed = log_id[:4] + self.log_key.sign(note.encode(), ec.ECDSA(hashes.SHA256()))
        return {
            "logIndex": "0",
            "logId": {"keyId": _b64(log_id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(self.logged_at),
            "inclusionPromise": {
                "signedEntryTimestamp": _b64(self.log_key.sign(promise, ec.ECDSA(hashes.SHA256())))
            },
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": _b64(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 log.test {_b64(signed)}\n"},
            },
            "canonicalizedBody": _b64(body),
        }

    def _ca(self) -> x509.Certificate:
        return (
            _builder(self.ca_key, self.ca_key, "ca", NOW - 10**7, NOW + 10**8)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(self.ca_key, hashes.SHA256())
        )

    def _certificate(
        self, signer: ec.EllipticCurvePrivateKey, workflow: Workflow
    ) -> x509.Certificate:
        begin = self.certified_at
        builder = (
            _builder(signer, self.ca_key, "", begin, begin + 600)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(workflow.identity)]),
                critical=True,
            )
        )
        for number, text in (
            (8, workflow.issuer),
            (11, workflow.runner),
            (12, workflow.repository),
            (13, workflow.commit),
        ):
            oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}")
            builder = builder.add_extension(_unrecognized(oid, 0x0C, text.encode()), critical=False)
        before = builder.sign(self.ca_key, hashes.SHA256())
        oid_and_value = _unrecognized(_SCT_LIST, 0x04, self._sct_list(before))
        return builder.add_extension(oid_and_value, critical=False).sign(
            self.ca_key, hashes.SHA256()
        )

    def _sct_list(self, certificate: x509.Certificate) -> bytes:
        tbs, moment = certificate.tbs_certificate_bytes, self.certified_at * 1000
        entry = _key_id(self.ca_key) + len(tbs).to_bytes(3, "big") + tbs
        signed = struct.pack("!BBQH", 0, 0, moment, 1) + entry + bytes(2)
        signature = self.ct_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        sct = b"\0" + _key_id(self.ct_key) + struct.pack("!QH", moment, 0)
        sct += bytes((4, 3)) + len(signature).to_bytes(2, "big") + signature
        listed = len(sct).to_bytes(2, "big") + sct
        return len(listed).to_bytes(2, "big") + listed


def _builder(
    subject: ec.EllipticCurvePrivateKey,
    issuer: ec.EllipticCurvePrivateKey,
    name: str,
    begin: int,
    end: int,
) -> x509.CertificateBuilder:
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else []
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")]))
        .public_key(subject.public_key())
        .serial_number(7)
        .not_valid_before(datetime.fromtimestamp(begin, UTC))
        .not_valid_after(datetime.fromtimestamp(begin, UTC) + timedelta(seconds=end - begin))
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(subject.public_key()), critical=False
        )
        .add_extension(issuer_key, critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _unrecognized(oid: x509.ObjectIdentifier, tag: int, raw: bytes) -> x509.UnrecognizedExtension:
    short = len(raw) < 0x80
    length = bytes((len(raw),)) if short else b"\x82" + len(raw).to_bytes(2, "big")
    if not short and len(raw) < 0x100:
        length = bytes((0x81, len(raw)))
    return x509.UnrecognizedExtension(oid, bytes((tag,)) + length + raw)


def _log(log_key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    return {
        "baseUrl": "https://log.test",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": _b64(_spki(log_key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": "2021-01-01T00:00:00Z"},
        },
        "logId": {"keyId": _b64(_key_id(log_key))},
    }


def _spki(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _key_id(private: ec.EllipticCurvePrivateKey) -> bytes:
    return _sha256(_spki(private))


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
