"""The cloud's attestations document: text of the platform, with quotes in it.

Shape: Phala Cloud API, GET /apps/{app_id}/attestations.
"""

import json
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from verifier.evidence.codec import JsonObject
from verifier.lab.guest import Guest
from verifier.lab.kms import ContractPlace, Kms
from verifier.model.result import JsonValue


def attestations(
    app_id: str,
    guests: Sequence[Guest],
    kms: Kms,
    place: ContractPlace | None,
    kms_url: str,
) -> JsonObject:
    """The document about an app; `place` is None for a KMS without a contract."""
    return {
        "app_id": app_id,
        "contract_address": "0x" + app_id if place else None,
        "kms_info": {
            "contract_address": "0x" + place.kms.hex() if place else None,
            "chain_id": place.chain_id if place else None,
            "version": "v0.5.8 (git:00000000000000000000)",
            "url": kms_url,
            "gateway_app_id": place.gateway_app_id if place else None,
            "gateway_app_url": "https://gateway.gw.lab.invalid",
        },
        "kms_guest_agent_info": _agent_info(kms.guest),
        "gateway_guest_agent_info": None,
        "qemu_version": "9.2.1",
        "instances": [_instance(guest, index) for index, guest in enumerate(guests)],
    }


def _agent_info(guest: Guest) -> JsonObject:
    info = dict(guest.info)
    info["tcb_info"] = _tcb_info(guest)
    del info["app_cert"]
    return {**info, "app_certificates": _certificates(guest)}


def _instance(guest: Guest, index: int) -> JsonObject:
    return {
        "vm_uuid": f"00000000-0000-4000-8000-{index:012d}",
        "name": guest.knobs.app_name,
        "instance_id": guest.instance_id.hex(),
        "status": "running",
        "image_version": f"dstack-{guest.knobs.version}",
        "quote": guest.cert_attestation.quote.hex(),
        "tcb_info": _tcb_info(guest),
        "mr_config_id": guest.td_report.mr_config_id.hex(),
        "device_id": guest.device_id.hex(),
        "app_certificates": _certificates(guest),
        "compose_file": guest.app_compose,
        "error": None,
    }


def _certificates(guest: Guest) -> list[JsonValue]:
    chain = x509.load_pem_x509_certificates(guest.app_cert.encode())
    return [
        {
            "subject": item.subject.rfc4514_string(),
            "issuer": item.issuer.rfc4514_string(),
            "serial_number": str(item.serial_number),
            "not_before": item.not_valid_before_utc.isoformat(),
            "not_after": item.not_valid_after_utc.isoformat(),
            "fingerprint": item.fingerprint(hashes.SHA256()).hex(),
            "is_ca": position > 0,
            "position_in_chain": position,
            "quote": guest.cert_attestation.quote.hex() if position == 0 else None,
            "app_id": guest.app_id.hex() if position == 0 else None,
        }
        for position, item in enumerate(chain)
    ]


def _tcb_info(guest: Guest) -> JsonValue:
    document: JsonValue = json.loads(guest.tcb_info)
    return document if guest.knobs.public_tcbinfo else None
