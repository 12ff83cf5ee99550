"""Reference integrity manifests (RIM): which measurements a driver or a VBIOS of NVIDIA gives.

A RIM is a SWID tag (ISO/IEC 19770-2:2015, TCG RIM 1.01) with an enveloped XML signature:

    SoftwareIdentity
      Meta colloquialVersion="570.172.08"                     version of driver or VBIOS
      Payload/Resource index, active, alternatives, Hash0 …   digests that may stand at an index
      Signature                                               ECDSA P-384, SHA-384, and its chain

Index 0 of a RIM is measurement 1 of a report. NVIDIA's RIM service gives it as {"id", "rim"}, with
the tag in base64. Source: NVIDIA nv-local-gpu-verifier 2.7.3, rim/ and verifier.py.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.certificates import parse_der_chain
from verifier.evidence.gpu.canonical_xml import Element, Name, canonical, parse_xml
from verifier.evidence.gpu.report import DIGEST_BYTES

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

RIM_MARK: Final = "<SoftwareIdentity"
"""What stands in every manifest, and in no page of a guest."""

_SWID: Final = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
_DS: Final = "http://www.w3.org/2000/09/xmldsig#"
_SHA384: Final = "http://www.w3.org/2001/04/xmlenc#sha384"
_C14N: Final = "http://www.w3.org/2006/12/xml-c14n11"
_ENVELOPED: Final = f"{_DS}enveloped-signature"
_ECDSA: Final = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
_DIGEST: Final = "http://www.w3.org/2001/04/xmldsig-more#sha384"
_ALGORITHM: Final = ("", "Algorithm")
_SIGNATURE_BYTES: Final = 96
_MAX_INDEX: Final = 255
_MAX_ALTERNATIVES: Final = 64
_SIGNED_INFO: Final = (
    (f"{_DS}CanonicalizationMethod", _C14N),
    (f"{_DS}SignatureMethod", _ECDSA),
    (f"{_DS}Transform", _ENVELOPED),
    (f"{_DS}Transform", _C14N),
    (f"{_DS}DigestMethod", _DIGEST),
)
"""Every algorithm that a signature names, in their order: no other is understood."""


class Rim(Struct, frozen=True, kw_only=True):
    """A manifest, read and not verified.

    version       of driver or VBIOS, in lower case; "" where it does not say
    measurements  index of a report, from 1 → the digests (48 bytes) that may stand there; active
                  ones alone
    document      what has to have the `digest`
    digest        sha384, 48 bytes
    signed        what the signature is over
    signature     r || s, 96 bytes
    chain         the signer's certificates, leaf first
    """

    version: str
    measurements: Mapping[int, frozenset[bytes]]
    document: bytes
    digest: bytes
    signed: bytes
    signature: bytes
    chain: "tuple[Certificate, ...]"


def parse_rim(raw: bytes, what: str) -> Rim:
    """Parse a manifest, or the RIM service's answer with one. Raises EvidenceError."""
    if raw.lstrip()[:1] == b"{":
        text = codec.as_str(codec.parse_json_object(raw, what).get("rim"), f"{what}.rim")
        raw = codec.parse_base64(text, f"{what}.rim")
    root = parse_xml(raw, what)
    signatures = [item for item in root.walk() if item.name == (_DS, "Signature")]
    if root.name != (_SWID, "SoftwareIdentity") or signatures != _named(root, (_DS, "Signature")):
        raise EvidenceError(f"{what}: not a signed SWID tag")
    if len(signatures) != 1:
        raise EvidenceError(f"{what}: {len(signatures)} signatures, not one")
    signature = signatures[0]
    info = _only(signature, (_DS, "SignedInfo"), what)
    named = tuple(
        ("".join(item.name), item.attributes[_ALGORITHM])
        for item in info.walk()
        if _ALGORITHM in item.attributes
    )
    reference = _only(info, (_DS, "Reference"), what)
    if named != _SIGNED_INFO or reference.attributes != {("", "URI"): ""}:
        raise EvidenceError(f"{what}: its signature is not over the whole tag, or of another form")
    return Rim(
        version=_only(root, (_SWID, "Meta"), what)
        .attributes.get(("", "colloquialVersion"), "")
        .lower(),
        measurements=_measurements(_only(root, (_SWID, "Payload"), what), what),
        document=canonical(root, (signature,)),
        digest=_base64(_only(reference, (_DS, "DigestValue"), what), DIGEST_BYTES, what),
        signed=canonical(info),
        signature=_base64(_only(signature, (_DS, "SignatureValue"), what), _SIGNATURE_BYTES, what),
        chain=_chain(signature, what),
    )


def _named(parent: Element, name: Name) -> list[Element]:
    return [item for item in parent.elements if item.name == name]


def _only(parent: Element, name: Name, what: str) -> Element:
    found = _named(parent, name)
    if len(found) != 1:
        raise EvidenceError(f"{what}: {len(found)} elements {name[1]}, not one")
    return found[0]


def _base64(element: Element, size: int, what: str) -> bytes:
    raw = codec.parse_base64("".join(element.text.split()), f"{what}: {element.local}")
    if len(raw) != size:
        raise EvidenceError(f"{what}: {element.local} has {len(raw)} bytes, not {size}")
    return raw


def _chain(signature: Element, what: str) -> "tuple[Certificate, ...]":
    holder = _only(_only(signature, (_DS, "KeyInfo"), what), (_DS, "X509Data"), what)
    texts = ("".join(item.text.split()) for item in _named(holder, (_DS, "X509Certificate")))
    where = f"{what}: X509Certificate"
    return parse_der_chain((codec.parse_base64(text, where) for text in texts), where)


def _measurements(payload: Element, what: str) -> Mapping[int, frozenset[bytes]]:
    found: dict[int, frozenset[bytes]] = {}
    seen: set[int] = set()
    for item in payload.elements:
        values = item.attributes
        index = _number(values.get(("", "index"), ""), _MAX_INDEX, what)
        count = _number(values.get(("", "alternatives"), ""), _MAX_ALTERNATIVES, what)
        if index in seen:
            raise EvidenceError(f"{what}: measurement {index} stands there twice")
        seen.add(index)
        active = values.get(("", "active"))
        if active not in {"True", "False"}:
            raise EvidenceError(f"{what}: measurement {index} is neither active nor not")
        if active == "True":
            found[index + 1] = frozenset(
                codec.parse_hex(values.get((_SHA384, f"Hash{place}")), what, length=DIGEST_BYTES)
                for place in range(count)
            )
    if not found:
        raise EvidenceError(f"{what}: names no measurement that counts")
    return found


def _number(text: str, most: int, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 3) or int(text) > most:  # noqa: PLR2004
        raise EvidenceError(f"{what}: a measurement has the number {text[:8]!a}")
    return int(text)
