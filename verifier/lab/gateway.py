"""The simulated gateway: an app of its own, which ends the connections to names below its base."""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.lab.endpoint import GATEWAY_KEY, OLDER_GATEWAY_KEY
from verifier.lab.guest import Guest, KeySource, manifest_text
from verifier.lab.knobs import Knobs
from verifier.lab.pki import Pki
from verifier.lab.response import NOT_FOUND, Response, answer_json
from verifier.model.result import JsonValue

GATEWAY_APP: Final = keys.labelled("gateway app", 20)
PLATFORM: Final = "gateway-platform"
ACCOUNT_URI: Final = "https://acme.lab.invalid/acme/acct/1"


def gateway_knobs(now: int) -> Knobs:
    """The guest that a gateway is."""
    return Knobs(seed="gateway", now=now, app_name="dstack-gateway", platform=PLATFORM)


def gateway_compose_hash() -> bytes:
    """The hash of the manifest that it runs."""
    return hashlib.sha256(manifest_text(gateway_knobs(0)).encode()).digest()


class Gateway:
    """The gateway, and what it shows about itself. `older` are keys that it had before."""

    def __init__(self, knobs: Knobs, pki: Pki, keys_from: KeySource) -> None:
        self.guest = Guest(knobs, index=0, app_id=GATEWAY_APP, pki=pki, keys_from=keys_from)

    def acme_info(self, labels: Sequence[str] = (OLDER_GATEWAY_KEY, GATEWAY_KEY)) -> JsonObject:
        """The acme-info answer, with a quote over the key of each label."""
        account = hashlib.sha512(b"acme-account:" + ACCOUNT_URI.encode()).digest()
        listed: list[JsonValue] = []
        for label in labels:
            key = keys.spki(keys.p256(label))
            bound = hashlib.sha512(b"zt-cert:" + key).digest()
            listed.append({"public_key": key.hex(), "quote": self._quote(bound), "attestation": ""})
        return {
            "account_uri": ACCOUNT_URI,
            "quoted_hist_keys": listed,
            "account_quote": self._quote(account),
            "account_attestation": "",
        }

    def respond(self, path: str) -> Response:
        """What it answers at the pseudo app `gateway`."""
        match path.removeprefix("/.dstack"):
            case "/app-info":
                return answer_json(200, self.guest.info)
            case "/acme-info":
                return answer_json(200, self.acme_info())
            case _:
                return NOT_FOUND

    def _quote(self, report_data: bytes) -> str:
        return json.dumps(self.guest.get_quote(report_data), separators=(",", ":"))
