"""What a simulated app publishes about itself at `/.well-known/attestation`."""

import base64

from eth_utils.address import to_checksum_address

from verifier.evidence.codec import JsonObject
from verifier.lab.guest import Guest
from verifier.lab.kms import Kms
from verifier.lab.sigstore import COMMIT, REPOSITORY
from verifier.model.identifiers import format_time


def published_proof(guest: Guest, kms: Kms, now: int) -> JsonObject:
    """The attestation proof of one instance, with every part that the form has."""
    report, key = guest.td_report, kms.app_key(guest.app_id)
    return {
        "version": "1.0",
        "timestamp": format_time(now),
        "source": {
            "repository": REPOSITORY.removeprefix("https://github.com/"),
            "branch": "main",
            "commit": COMMIT,
            "docker_compose": "docker-compose.yml",
        },
        "deployment": {
            "phala_node_id": 1,
            "kms_id": "kms-lab",
            "custom_app_id": guest.app_id.hex(),
            "cvm_id": "00000000-0000-4000-8000-000000000000",
        },
        "attestation": {
            "td_quote": base64.b64encode(guest.cert_attestation.quote).decode(),
            "mr_td": report.mr_td.hex(),
            "mr_config_id": report.mr_config_id.hex(),
            "rtmr": [value.hex() for value in report.rtmrs],
        },
        "kms_signature": {
            "app_public_key": key.app_public_key.hex(),
            "kms_signature": "0x" + key.kms_signature.hex(),
            "kms_root_address": to_checksum_address(kms.root_address),
        },
        "verification_url": f"https://{guest.app_id.hex()}.lab.invalid/.well-known/attestation",
    }
