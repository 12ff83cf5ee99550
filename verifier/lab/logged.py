"""A simulated search of certificate logs, in the shape of crt.sh."""

from collections.abc import Iterable, Mapping
from typing import Final

from cryptography import x509

from verifier.evidence.codec import JsonObject
from verifier.lab.endpoint import (
    GATEWAY_NAME,
    OLDER_GATEWAY_KEY,
    gateway_certificate,
    web_certificate,
)
from verifier.lab.guest import Guest
from verifier.lab.ingress import ingress_certificate
from verifier.lab.knobs import Knobs
from verifier.lab.response import NOT_FOUND, Response, answer, answer_json
from verifier.model.result import JsonValue

CT_URL: Final = "https://ct.lab.invalid"
_PEM_TYPE: Final = "application/pkix-cert"


def logged_certificates(knobs: Knobs, domain: str, guest: Guest) -> tuple[bytes, ...]:
    """The certificates (PEM) that are logged in a world: the gateway's, the one that dstack-ingress
    in a guest has for a domain, and what the knobs add."""
    more = [web_certificate(name, knobs.now, key) for name, key in knobs.logged]
    older = web_certificate(GATEWAY_NAME, knobs.now, OLDER_GATEWAY_KEY)
    return (older, gateway_certificate(knobs.now), ingress_certificate(domain, guest), *more)


class CertificateLogs:
    """The certificates (PEM, leaf first) that public CAs logged; the first is called 1."""

    def __init__(self, certificates: Iterable[bytes]) -> None:
        self._logged = dict(enumerate(certificates, start=1))

    def respond(self, arguments: Mapping[str, str]) -> Response:
        """What it answers: a list for a name, or a certificate by its number."""
        if "d" in arguments:
            pem = self._logged.get(int(arguments["d"]))
            return NOT_FOUND if pem is None else answer(200, _PEM_TYPE, pem)
        rows = [_row(number, pem) for number, pem in self._logged.items()]
        asked = arguments.get("q", "")
        found: list[JsonValue] = [
            row for row in rows if asked in str(row["name_value"]).split("\n")
        ]
        return answer_json(200, found)


def _row(number: int, pem: bytes) -> JsonObject:
    leaf = x509.load_pem_x509_certificates(pem)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        "issuer_ca_id": 1,
        "issuer_name": leaf.issuer.rfc4514_string(),
        "common_name": leaf.subject.rfc4514_string(),
        "name_value": "\n".join(names.get_values_for_type(x509.DNSName)),
        "id": number,
        "entry_timestamp": leaf.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%S.123"),
        "not_before": leaf.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%S"),
        "not_after": leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%S"),
        "serial_number": f"{leaf.serial_number:034x}",
        "result_count": 2,
    }
