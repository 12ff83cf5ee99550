"""What forgeries of a KMS, and of what an app publishes about its keys, are made of."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from verifier.evidence import codec
from verifier.evidence.bundle import Kind
from verifier.lab import keys
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.model.result import JsonValue

if TYPE_CHECKING:
    from verifier.lab.world import World

HOSTED_ROOT: Final = "0x" + keys.k256_address(keys.k256("kms hosted k256")).hex()
"""The address of the root key of the hosted KMS, which the reference values know, too."""

HandedOver = tuple[tuple[Kind, bytes], ...]


def guest(**changes: object) -> Callable[[Knobs], Knobs]:
    """Run the KMS in another guest."""
    return lambda knobs: replace(knobs, **changes)


def manifest(old: str, new: str) -> Callable[[Knobs], Knobs]:
    """Write something else into what the KMS's guest runs."""

    def edit(knobs: Knobs) -> Knobs:
        document = json.loads(knobs.manifest or "{}")
        compose = document["docker_compose_file"]
        if old not in compose:
            raise ValueError(f"the manifest of the KMS has no {old!r}")
        document["docker_compose_file"] = compose.replace(old, new)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return replace(knobs, manifest=text)

    return edit


def proof(part: str, **changes: JsonValue) -> Callable[["World"], HandedOver]:
    """The app's attestation proof, with other fields in one part, "" for those in none."""

    def make(world: "World") -> HandedOver:
        document = dict(world.proof)
        if part:
            document[part] = {**codec.as_object(document[part], part), **changes}
        else:
            document |= changes
        return ((Kind.PROOF, json.dumps(document).encode()),)

    return make


def proof_of_another_app(world: "World") -> HandedOver:
    """The proof of another app of the same KMS, as it publishes it, and the quote in it alone."""
    other = type(world)(replace(world.knobs, seed="other", app_name="other-app"))
    quote = other.guest.cert_attestation.quote
    return ((Kind.PROOF, json.dumps(other.proof).encode()), (Kind.QUOTE, quote))


def without_certificate(_method: str, _url: str, _body: bytes, response: Response) -> Response:
    """Show no certificate where the KMS answers, as whoever stands between can."""
    return replace(response, peer_certificate=None)
