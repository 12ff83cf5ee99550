"""Which gateways a KMS lets carry an app's traffic.

`gatewayAppId` is free text, and a guest accepts a gateway when the text, in lower case, *contains*
the hex of the gateway's app id (Dstack-TEE/dstack dstack-util/src/system_setup.rs): one text may
allow several gateways, and the text `any` switches the comparison off.
"""

import re
from typing import Final

from msgspec import Struct

from verifier.patterns import pattern

_WINDOW: Final = pattern(r"(?=([0-9a-f]{40}))", re.ASCII)
_ANY: Final = "any"


class GatewayIds(Struct, frozen=True):
    """What a gateway text allows: every app id (40 hex digits) that stands in it, in the order of
    first appearance; `any` when every gateway, `empty` when the text is."""

    ids: tuple[str, ...]
    any: bool
    empty: bool


def gateway_ids(text: str) -> GatewayIds:
    """Every app id that guests would find in the text, overlapping ones too."""
    found = dict.fromkeys(_WINDOW.findall(text.lower()))
    return GatewayIds(ids=tuple(found), any=text == _ANY, empty=not text)
