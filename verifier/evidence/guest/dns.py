"""TXT records that map a custom domain to an app.

A gateway routes `<fqdn>` by the first TXT record of `_dstack-app-address.<fqdn>` (before dstack
0.5.4 also `_tapp-address.<fqdn>`), whose text is `<app id or instance id>:<port>`
(Dstack-TEE/dstack gateway/src/proxy/tls_passthrough.rs). The owner of the domain can point it at
any app: the record maps traffic and proves nothing about the app.
"""

import re
from typing import Final

from verifier.evidence import codec
from verifier.patterns import pattern

RECORD_NAMES: Final = ("_dstack-app-address", "_tapp-address")
_TXT: Final = 16
_ADDRESS: Final = pattern(r'"?([0-9a-fA-F]{40}):[0-9]{1,5}"?', re.ASCII)


def parse_app_address(raw: bytes, what: str) -> str | None:
    """The id that a DNS-over-HTTPS JSON answer maps to (40 lower-case hex digits), or None.

    Raises EvidenceError when the answer is malformed.
    """
    document = codec.parse_json_object(raw, what)
    for item in codec.as_list(document.get("Answer") or [], f"{what}: Answer"):
        record = codec.as_object(item, f"{what}: Answer")
        if record.get("type") == _TXT:
            match = _ADDRESS.fullmatch(codec.text_field(record, "data", what))
            return match[1].lower() if match else None
    return None
