"""GPUs of our own making, in the shape of NVIDIA's: reports, verdicts and reference manifests.

    device root ── identity ── provisioner ── GPU ── attestation key      signs reports
    manifest root ── manifest signer                                      signs manifests (RIM)
    service key ── token signer                                           signs verdicts

Names follow NVIDIA's common names, because verifiers read them; the organisation says what this is.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.lab.pki import DAY, ORGANISATION, der, key_usage, moment, pem_chain, serial, tlv
from verifier.model.result import JsonValue

DRIVER: Final = "570.172.08"
VBIOS: Final = "96.00.D0.00.03"
BLOCKS: Final = 64
OTHER: Final = "others"
"""The label of keys that no reference value names."""

_DICE: Final = "2.23.133.5.4.1"
_SHA384_OID: Final = bytes.fromhex("0609608648016503040202")
_NAMES: Final = {
    "root": "NVIDIA Device Identity CA",
    "identity": "NVIDIA GH100 Identity",
    "provisioner": "NVIDIA GH100 Provisioner ICA 1",
    "gpu": "GH100 A01 GSP BROM",
    "leaf": "GH100 A01 GSP FMC LF",
    "rim-root": "NVIDIA CoRIM signing Root CA",
    "rim": "GH100 RIM signer",
    "service": "NVIDIA Attestation Service GPU Intermediate",
    "token": "NVIDIA Attestation Service GPU GH100",
}
_START: Final = 1577836800
"""2020-01-01, when every certificate here begins to be in force."""

_LIFE: Final = 60 * 365 * DAY


class Gpus(Struct, frozen=True, kw_only=True):
    """The GPUs of one machine.

    count          how many
    now            when the world is observed, Unix seconds
    label          the label of their keys
    root           the label of the device root's key
    rim_root       the label of the key of the root of the manifests
    service        the label of the key of the attestation service
    issuer         the name that its tokens give their issuer
    driver         the version of the driver
    debug          whether other code runs than NVIDIA's manifests allow
    leaf_firmware  what the certificates name as firmware, in the place of what runs
    """

    count: int
    now: int
    label: str = "gpu"
    root: str = "root"
    rim_root: str = "rim-root"
    service: str = "service"
    issuer: str = "https://nras.attestation.nvidia.com"
    driver: str = DRIVER
    debug: bool = False
    leaf_firmware: str = "firmware"

    def payload(self, nonce: bytes, named: bytes | None = None) -> bytes:
        """`nvidia_payload` over a nonce (32 bytes), or one that names another."""
        entries: list[JsonValue] = [{**self.entry(place, nonce)} for place in range(self.count)]
        document = {"nonce": (named or nonce).hex(), "evidence_list": entries, "arch": "HOPPER"}
        return json.dumps(document).encode()

    def entry(self, place: int, nonce: bytes, key: str = "leaf") -> dict[str, str]:
        """One GPU's report and certificates, as a payload lists them."""
        return {
            "certificate": base64.b64encode(pem_chain(self.chain(place, key))).decode(),
            "evidence": base64.b64encode(self.report(place, nonce, key)).decode(),
            "arch": "HOPPER",
        }

    def chain(self, place: int, key: str = "leaf") -> list[x509.Certificate]:
        """The certificates of one GPU, attestation key first. Each firmware has its own such key,
        `key` by its label, and the device's key certifies all of them."""
        name = f"{self.label} {place}"
        identity = _issue("identity", "identity", "root", self.root)
        provisioner = _issue("provisioner", "provisioner", "identity", "identity")
        device = _issue("gpu", name, "provisioner", "provisioner")
        leaf = _issue("leaf", f"{name} {key}", "gpu", name, self.leaf_firmware)
        return [leaf, device, provisioner, identity, _issue("root", self.root, "root", self.root)]

    def report(self, place: int, nonce: bytes, key: str = "leaf") -> bytes:
        """One GPU's report over a nonce, by one of its attestation keys."""
        record = b"".join(
            bytes((index, 1))
            + (51).to_bytes(2, "little")
            + b"\1"
            + (48).to_bytes(2, "little")
            + digest
            for index, digest in enumerate(_measurements(debug=self.debug), start=1)
        )
        opaque = _opaque(self.driver)
        request = b"\x11\xe0\x01\xff" + nonce + b"\0"
        response = b"".join(
            (
                b"\x11\x60\0\0",
                bytes((BLOCKS,)),
                len(record).to_bytes(3, "little"),
                record,
                keys.labelled(f"responder nonce {place} {nonce.hex()}", 32),
                len(opaque).to_bytes(2, "little"),
                opaque,
            )
        )
        signed = request + response
        return signed + keys.sign_p384(keys.p384(f"{self.label} {place} {key}"), signed)

    def serial(self, place: int) -> int:
        """The serial number of one GPU's attestation key, which verdicts call `ueid`."""
        return serial(f"leaf {self.label} {place} leaf")

    def rims(self) -> tuple[bytes, bytes]:
        """The manifests of driver and VBIOS."""
        digests = _measurements(debug=False)
        return (
            self.rim(self.driver, dict(enumerate(digests[8:40], start=8))),
            self.rim(VBIOS, dict(enumerate(digests[:8]))),
        )

    def rim(self, version: str, digests: dict[int, bytes]) -> bytes:
        """A signed manifest of these digests, by the manifest's index (from 0). It is written in
        canonical form, so that what is signed is its own text without the signature."""
        resources = "".join(
            f'<ns0:Resource active="True" alternatives="1" index="{index}" '
            f'name="Measurement_{index}" size="48" type="Measurement" ns2:Hash0="{digest.hex()}">'
            "</ns0:Resource>"
            for index, digest in digests.items()
        )
        body = (
            f'<SoftwareIdentity {_SCOPE} name="GH100" version="1.0">'
            f'<ns0:Meta colloquialVersion="{version}" edition="GPU" product="GH100"></ns0:Meta>'
            f"<ns0:Payload>{resources}</ns0:Payload></SoftwareIdentity>"
        )
        digest = base64.b64encode(hashlib.sha384(body.encode()).digest()).decode()
        inner = _SIGNED_INFO.replace("DIGEST", digest)
        scope = _SCOPE.replace(" xmlns:ns0", f"{_DS} xmlns:ns0", 1)
        signed = f"<ds:SignedInfo {scope}>{inner}</ds:SignedInfo>"
        signature = keys.sign_p384(keys.p384("rim signer"), signed.encode())
        chain = [
            _issue("rim", "rim signer", "rim-root", self.rim_root),
            _issue("rim-root", self.rim_root, "rim-root", self.rim_root),
        ]
        listed = "".join(
            f"<ds:X509Certificate>{base64.b64encode(der(item)).decode()}</ds:X509Certificate>"
            for item in chain
        )
        value = base64.b64encode(signature).decode()
        enveloped = (
            f"<ds:Signature{_DS}><ds:SignedInfo>{inner}</ds:SignedInfo><ds:SignatureValue>{value}"
            f"</ds:SignatureValue><ds:KeyInfo><ds:X509Data>{listed}</ds:X509Data></ds:KeyInfo>"
            "</ds:Signature>"
        )
        return body.replace("</SoftwareIdentity>", f"{enveloped}</SoftwareIdentity>").encode()

    def verdict(self, nonce: bytes, *, success: bool = True, age: int = 60) -> bytes:
        """What NVIDIA's service would answer, `age` seconds ago."""
        times: JsonObject = {
            "iss": self.issuer,
            "iat": self.now - age,
            "exp": self.now - age + 3600,
        }
        error: JsonObject = {
            "x-nvidia-error-details": {"code": 4010, "message": "NONCE_NOT_MATCHING"}
        }
        detached = {
            f"GPU-{place}": self._token(
                {
                    **times,
                    **({
                        "eat_nonce": nonce.hex(), "ueid": str(self.serial(place)),
                        "measres": "success", "secboot": True, "dbgstat": "disabled",
                    } if success else error),
                }
            )
            for place in range(self.count)
        }  # fmt: skip
        submods: JsonObject = {
            name: ["DIGEST", ["SHA-256", hashlib.sha256(token.encode()).hexdigest()]]
            for name, token in detached.items()
        }
        overall = self._token(
            {
                **times,
                "eat_nonce": nonce.hex(),
                "x-nvidia-overall-att-result": success,
                "submods": submods,
            }
        )
        return json.dumps([["JWT", overall], detached]).encode()

    def key_set(self) -> bytes:
        """The key set of the service."""
        chain = [
            _issue("token", "token signer", "service", self.service),
            _issue("service", self.service, "service", self.service),
        ]
        x5c: list[JsonValue] = [base64.b64encode(der(item)).decode() for item in chain]
        return json.dumps(
            {"keys": [{"kty": "EC", "crv": "P-384", "kid": "lab", "x5c": x5c}]}
        ).encode()

    def _token(self, claims: JsonObject) -> str:
        head = _base64url(json.dumps({"alg": "ES384", "kid": "lab"}).encode())
        signed = f"{head}.{_base64url(json.dumps(claims).encode())}"
        signature = keys.sign_p384(keys.p384("token signer"), signed.encode())
        return f"{signed}.{_base64url(signature)}"


_DS: Final = ' xmlns:ds="http://www.w3.org/2000/09/xmldsig#"'
_SCOPE: Final = (
    'xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd"'
    ' xmlns:ns0="http://standards.iso.org/iso/19770/-2/2015/schema.xsd"'
    ' xmlns:ns2="http://www.w3.org/2001/04/xmlenc#sha384"'
)
_SIGNED_INFO: Final = (
    '<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11">'
    "</ds:CanonicalizationMethod>"
    '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384">'
    '</ds:SignatureMethod><ds:Reference URI=""><ds:Transforms>'
    '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature">'
    '</ds:Transform><ds:Transform Algorithm="http://www.w3.org/2006/12/xml-c14n11">'
    "</ds:Transform></ds:Transforms>"
    '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384">'
    "</ds:DigestMethod><ds:DigestValue>DIGEST</ds:DigestValue></ds:Reference>"
)


def trust_anchors() -> dict[str, x509.Certificate]:
    """The certificates of the keys that a relying party of a simulated world trusts, by use."""
    return {
        "nvidia-device": _issue("root", "root", "root", "root"),
        "nvidia-rim": _issue("rim-root", "rim-root", "rim-root", "rim-root"),
        "nvidia-nras": _issue("service", "service", "service", "service"),
    }


def attacker_chain(pem: bytes, signer: str) -> tuple[bytes, ec.EllipticCurvePrivateKey]:
    """A chain that goes on below its leaf, whose key has the label `signer`, to a new key; and that
    key."""
    leaf = _issue("leaf", "attacker's leaf", "leaf", signer, "firmware")
    return pem_chain([leaf]) + pem, keys.p384("attacker's leaf")


def _measurements(*, debug: bool) -> Sequence[bytes]:
    digests = [keys.labelled(f"gpu measurement {index}", 48) for index in range(BLOCKS)]
    if debug:
        digests[24] = keys.labelled("gpu measurement in debug mode", 48)
    return digests


def _opaque(driver: str) -> bytes:
    vbios = bytes.fromhex("00d0009603000000")
    fields = {
        6: vbios,
        15: b"895".ljust(9, b"\0"),
        17: b"1010\0",
        18: b"0200\0",
        3: driver.encode() + b"\0",
        11: b"\x55",
        20: _firmware("firmware"),
    }
    return b"".join(
        kind.to_bytes(2, "little") + len(value).to_bytes(2, "little") + value
        for kind, value in fields.items()
    )


def _firmware(label: str) -> bytes:
    return keys.labelled(f"gpu {label}", 48)


@cache
def _issue(
    role: str, key_label: str, issuer_role: str, issuer_label: str, firmware: str = ""
) -> x509.Certificate:
    """One certificate: of the key of a label, by that of another."""
    key, issuer = keys.p384(key_label), keys.p384(issuer_label)
    is_ca = role not in {"leaf", "rim", "token"}
    number = serial(f"{role} {key_label}")
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(role, number))
        .issuer_name(_name(issuer_role, serial(f"{issuer_role} {issuer_label}")))
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(moment(_START))
        .not_valid_after(moment(_START + _LIFE))
        .add_extension(key_usage(is_ca=is_ca), critical=True)
    )
    if is_ca:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
    if firmware:
        dice = tlv(0x30, _SHA384_OID + tlv(0x04, _firmware(firmware)))
        value = tlv(0x30, tlv(0x02, b"\1") + dice)
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(_DICE), value), critical=False
        )
    return builder.sign(issuer, hashes.SHA384(), ecdsa_deterministic=True)


def _name(role: str, number: int) -> x509.Name:
    attributes = [
        x509.NameAttribute(NameOID.COMMON_NAME, _NAMES[role]),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
    ]
    if role in {"gpu", "leaf"}:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{number:040X}"))
    return x509.Name(attributes)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
