"""The report behind a dashboard's page about an app, in the shape of Phala's Trust Center.

Shape: Phala-Network/trust-center packages/verifier/src/types, and the fields of its data objects.
"""

import json
from collections.abc import Mapping

from verifier.model.identifiers import format_time
from verifier.model.result import JsonValue


def dashboard_report(
    claims: Mapping[str, JsonValue], at: int, *, app_id: str, edit: Mapping[str, str] | None = None
) -> bytes:
    """A report that shows everything as verified at a time (Unix seconds), with these values by the
    names of claims; `edit` puts others in place of some, by object and field."""
    registers = {
        name: claims.get(name, "") for name in ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
    }
    contract = f"https://basescan.org/address/{claims.get('app_contract', '')}"
    objects: dict[str, dict[str, JsonValue]] = {
        "app-main": {
            "app_id": f"0x{app_id}",
            "instance_id": claims.get("instance_id", ""),
            "device_id": claims.get("device_id", ""),
            "compose_hash": claims.get("compose_hash", ""),
            "os_image_hash": claims.get("os_image_hash", ""),
            "registry_smart_contract": contract,
            "app_cert": "N/A",
            "is_registered": True,
        },
        "app-cpu": {"manufacturer": "Simulated", "verification_status": "UpToDate"},
        "app-quote": registers,
        "app-code": {
            "compose_file": "{}",
            "github_repo": "https://github.com/lab--invalid/web",
            "git_commit": "",
        },
        "gateway-main": {"app_id": "ab" * 20, "guarded_domain": "app.lab.invalid"},
    }
    for place, value in (edit or {}).items():
        name, _, field = place.partition(".")
        objects.setdefault(name, {})[field] = value
    document = {
        "dataObjects": [
            {"id": name, "name": name, "fields": fields, "kind": name.partition("-")[0]}
            for name, fields in objects.items()
        ],
        "completedAt": format_time(at),
        "errors": [],
        "failures": [],
        "success": True,
    }
    return json.dumps(document).encode("utf-8")
