"""An attestation proof, written from what an audit proved and from nothing else: the document that
an app publishes at `/.well-known/attestation` (see `verifier.evidence.guest.proof`).

What was not proven is absent: no part of it is taken from what the app, its operator or a vendor
says. Whoever reads it has to verify it again: the quote proves itself, the signature recovers, and
the rest is this audit's word.
"""

import base64
import json
from typing import Final

from verifier.model.identifiers import format_time
from verifier.model.report import ProvenParts, Report
from verifier.model.result import JsonValue
from verifier.report.audit.json import encodable

VERSION: Final = "1.0"


def render_proof(report: Report) -> str:
    """The proof about the first attester of a report, JSON with a newline at the end."""
    proven = report.subjects[0].proven if report.subjects else ProvenParts()
    parts: dict[str, dict[str, JsonValue]] = {
        "source": {"repository": proven.repository, "commit": proven.commit},
        "deployment": {"custom_app_id": proven.app_id},
        "attestation": _attestation(proven),
        "kms_signature": {
            "app_public_key": proven.app_public_key.hex(),
            "kms_signature": proven.kms_signature.hex(),
            "kms_root_address": proven.kms_root_address,
        },
    }
    document: dict[str, JsonValue] = {
        "version": VERSION,
        "timestamp": format_time(report.evaluated_at),
        **({"unsafe": report.root_note} if report.root_note else {}),
    }
    for name, part in parts.items():
        known: dict[str, JsonValue] = {key: value for key, value in part.items() if value}
        if known:
            document[name] = known
    return json.dumps(encodable(document), indent=2, ensure_ascii=False) + "\n"


def _attestation(proven: ProvenParts) -> dict[str, JsonValue]:
    registers = {name: value.hex() for name, value in proven.registers}
    return {
        "td_quote": base64.b64encode(proven.quote).decode("ascii"),
        "mr_td": registers.get("mrtd", ""),
        "mr_config_id": registers.get("mr_config_id", ""),
        "rtmr": [registers[name] for name in sorted(registers) if name.startswith("rtmr")],
    }
