"""dstack-sdk: replay of event logs and hashes of manifests, which is all that it verifies."""

import json

from dstack_sdk import GetQuoteResponse, get_compose_hash
from folder import Folder, say

RTMR0 = 376
SIZE = 48
COMPOSE_HASH = "compose-hash"

folder = Folder()
if folder.link not in ("log", "manifest"):
    say("unsupported")
try:
    answer = GetQuoteResponse(quote=folder.quote.hex(), event_log=json.dumps(folder.events))
    registers = answer.replay_rtmrs()
except Exception:  # noqa: BLE001 - whatever it raises is a refusal
    say("reject")
quoted = {
    index: folder.quote[RTMR0 + SIZE * index : RTMR0 + SIZE * (index + 1)].hex()
    for index in range(4)
}
if registers != quoted:
    say("reject")
if folder.link == "manifest":
    manifest = json.loads((folder.path / "app-compose.json").read_bytes())
    measured = next(item for item in folder.events if item["event"] == COMPOSE_HASH)
    if get_compose_hash(manifest) != measured["event_payload"]:
        say("reject")
say("accept")
