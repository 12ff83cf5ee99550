"""Phala Cloud's account of an app: `GET /api/v1/apps/{id}/attestations`.

Vendor text: it helps to find a quote when the guest serves none, and is `asserted` until that
quote verifies. Shape: Phala-Network/trust-center packages/verifier/src/schemas.ts.
"""

from msgspec import Struct

from verifier.evidence import codec
from verifier.evidence.guest.tcb_info import TcbInfo, parse_tcb_info
from verifier.model.result import JsonValue


class CloudInstance(Struct, frozen=True, kw_only=True):
    """One instance; `quote` is b"" for a stopped one."""

    instance_id: str
    quote: bytes
    event_log: JsonValue
    tcb_info: TcbInfo | None


def parse_cloud_attestations(raw: bytes, what: str) -> tuple[CloudInstance, ...]:
    """The instances of an attestations answer. Raises EvidenceError."""
    document = codec.parse_json_object(raw, what, codec.MAX_LISTED)
    items = codec.as_list(document.get("instances") or [], f"{what}.instances")
    return tuple(
        _instance(codec.as_object(item, what), f"{what}.instances[{index}]")
        for index, item in enumerate(items)
    )


def parse_kms_account(raw: bytes, what: str) -> TcbInfo | None:
    """What an attestations answer says of the guest that the app's KMS runs in, None where it says
    nothing. Raises EvidenceError."""
    document = codec.parse_json_object(raw, what, codec.MAX_LISTED)
    account = document.get("kms_guest_agent_info")
    if not account:
        return None
    what = f"{what}.kms_guest_agent_info"
    tcb_info = codec.as_object(account, what).get("tcb_info")
    return parse_tcb_info(tcb_info, f"{what}.tcb_info") if tcb_info else None


def _instance(item: codec.JsonObject, what: str) -> CloudInstance:
    quote, tcb_info = item.get("quote"), item.get("tcb_info")
    return CloudInstance(
        instance_id=codec.text_field(item, "instance_id", what).lower().removeprefix("0x"),
        quote=codec.parse_hex(quote, f"{what}.quote", allow_0x=True) if quote else b"",
        event_log=item.get("eventlog") or None,
        tcb_info=parse_tcb_info(tcb_info, f"{what}.tcb_info") if tcb_info else None,
    )
