"""Attacks on where the images come from."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from verifier.evidence import codec
from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab import keys
from verifier.lab.attacks.attack import HONEST, Attack, missing, refused, warned
from verifier.lab.knobs import Knobs
from verifier.lab.registry import WEB, Attest, Image, attest
from verifier.lab.response import NOT_FOUND, Response, answer_json
from verifier.lab.sigstore import LIFETIME, Sigstore, Workflow, provenance

_CHECK: Final = "provenance.images"
_OTHER_COMMIT: Final = keys.labelled("another commit", 20).hex()
_OTHER_REPOSITORY: Final = "https://github.com/attacker--invalid/web"
_OTHER_DIGEST: Final = keys.labelled("another image", 32).hex()
_WORD: Final = "the image is still the one that is named; its source is only the builder's word"


def images() -> Iterator[Attack]:
    """Images that are not what they are said to be, and attestations that prove nothing."""
    for name, what, path in (
        ("image-other-manifest", "image", "/manifests/"),
        ("image-other-configuration", "image's configuration", "/blobs/"),
    ):
        title = f"serves other bytes under the digest of the {what}"
        served = forge.body_of(path, lambda raw: raw + b"\n")
        yield refused(name, _CHECK, title, Knobs(edit_response=served))
    title = "runs an image that is made for another platform"
    arm = replace(WEB, architecture="arm64")
    yield refused("image-other-platform", _CHECK, title, Knobs(image=arm))
    title = "wants an image for another platform, for which its index holds one of the attacker's"
    why = "a platform is no forgery; of its image nobody says anything"
    indexed = Knobs(image=replace(WEB, beside="386"))
    other = replace(indexed, edit_manifest=_for_another_platform)
    yield warned("image-for-another-platform", _CHECK, title, other, why, twin=indexed)
    title = "runs another image than the relying party expects"
    expected = {"expected_images": (f"web=sha256:{_OTHER_DIGEST}",)}
    twin = {"twin_expected_images": (f"web={WEB.digest}",)}
    yield refused("image-not-expected", _CHECK, title, HONEST, **expected, **twin)
    title = "names no image of the repository that the relying party expects"
    expected = {"expected_images": (f"lab/other={WEB.digest}",)}
    twin = {"twin_expected_images": (f"lab/web-nginx={WEB.digest}",)}
    yield refused("image-expected-nowhere", _CHECK, title, HONEST, **expected, **twin)
    why = "a tag is no forgery; whoever owns it decides later what it means"
    title = "names an image by a tag that can be moved"
    yield warned("image-unpinned", _CHECK, title, Knobs(edit_manifest=_unpinned), why)
    why = "a private image may be a good one; nobody can look at it"
    title = "runs an image that its registry shows to nobody"
    yield warned("image-absent", _CHECK, title, Knobs(edit_response=_absent), why)
    why = "a registry that is out of order says nothing about the image"
    title = "has the registry refuse every question"
    yield missing("image-unanswered", _CHECK, title, Knobs(edit_response=_out_of_order), why)
    yield from _attestations()


def _attestations() -> Iterator[Attack]:
    other = Workflow(repository=_OTHER_REPOSITORY)
    signed: tuple[tuple[str, str, Attest], ...] = (
        ("hidden", "shows nobody who built the image", lambda *_: []),
        ("of-another-workflow", "attests the image in a workflow of its own",
         _signed(workflow=other, repository=_OTHER_REPOSITORY)),
        ("by-another-workflow", "signs in its own workflow that the named source was built",
         _signed(workflow=other)),
        ("of-another-digest", "shows the attestation of another image",
         _signed(digest=_OTHER_DIGEST)),
        ("of-another-commit", "signs at one commit that another was built",
         _signed(commit=_OTHER_COMMIT)),
        ("on-own-runner", "attests the image on a runner of its own",
         _signed(workflow=Workflow(runner="self-hosted"))),
        ("of-another-issuer", "signs under an identity of another issuer",
         _signed(workflow=Workflow(issuer="https://issuer.attacker.invalid"))),
        ("of-another-instance", "signs in a Sigstore of its own", _elsewhere),
        ("after-expiry", "has an entry logged after its certificate's time", _late),
        ("from-later", "shows an attestation from after the audit", _later),
        ("inclusion-proof", "breaks the proof that the log has the entry",
         _broken(("verificationMaterial", "tlogEntries", 0, "inclusionProof"), "rootHash")),
        ("log-promise", "breaks the log's promise, which dates the entry",
         _broken(("verificationMaterial", "tlogEntries", 0, "inclusionPromise"),
                 "signedEntryTimestamp")),
        ("log-entry", "shows the log entry of another signature",
         _broken(("verificationMaterial", "tlogEntries", 0), "canonicalizedBody")),
        ("signature", "breaks the signature of the statement",
         _broken(("dsseEnvelope", "signatures", 0), "sig")),
        ("statement", "edits the signed statement",
         _changed(("dsseEnvelope",), "payload", _edited)),
    )  # fmt: skip
    for name, title, by in signed:
        yield warned(f"attestation-{name}", _CHECK, title, Knobs(attest=by), _WORD)
    why = "the attestation is good; tag, label and attestation cannot all be true"
    title = "tags the image with another commit than it was built from"
    tagged = replace(WEB, tag=_OTHER_COMMIT[:7])
    yield warned("image-tag-of-another-commit", _CHECK, title, Knobs(image=tagged), why)
    title = "labels the image with another commit than it was built from"
    labelled = replace(WEB, revision=_OTHER_COMMIT)
    yield warned("image-label-of-another-commit", _CHECK, title, Knobs(image=labelled), why)


def _signed(*, workflow: Workflow | None = None, digest: str = "", **claims: str) -> Attest:
    """Another attestation than the true one."""

    def by(sigstore: Sigstore, image: Image) -> list[JsonObject]:
        return [sigstore.sign(provenance(digest or image.hex_digest, **claims), workflow)]

    return by


def _elsewhere(sigstore: Sigstore, image: Image) -> list[JsonObject]:
    return attest(replace(sigstore, label="attacker's sigstore"), image)


def _late(sigstore: Sigstore, image: Image) -> list[JsonObject]:
    return attest(replace(sigstore, logged_at=sigstore.certified_at + LIFETIME + 1), image)


def _later(_: Sigstore, image: Image) -> list[JsonObject]:
    now = HONEST.now + LIFETIME
    return attest(Sigstore(certified_at=now, logged_at=now + 60), image)


def _broken(path: tuple[str | int, ...], field: str) -> Attest:
    """The true attestation with one bit of a base64 field flipped."""

    def flip(text: str) -> str:
        raw = codec.parse_base64(text, field)
        return base64.b64encode(raw[:20] + bytes([raw[20] ^ 1]) + raw[21:]).decode()

    return _changed(path, field, flip)


def _changed(path: tuple[str | int, ...], field: str, change: Callable[[str], str]) -> Attest:
    def by(sigstore: Sigstore, image: Image) -> list[JsonObject]:
        (bundle,) = attest(sigstore, image)
        place: object = bundle
        for step in path:
            place = place[step]  # type: ignore[index]
        place[field] = change(place[field])  # type: ignore[index]
        return [bundle]

    return by


def _edited(payload: str) -> str:
    """The statement about another image, under the old signature."""
    statement = json.loads(codec.parse_base64(payload, "payload"))
    statement["subject"].append({"name": "other", "digest": {"sha256": _OTHER_DIGEST}})
    return base64.b64encode(json.dumps(statement).encode()).decode()


def _unpinned(manifest: JsonObject) -> JsonObject:
    compose = str(manifest["docker_compose_file"]).replace(f"@{WEB.digest}", ":1.4")
    return {**manifest, "docker_compose_file": compose}


def _for_another_platform(manifest: JsonObject) -> JsonObject:
    compose = str(manifest["docker_compose_file"])
    asking = compose.replace("    image: ", "    platform: linux/386\n    image: ", 1)
    return {**manifest, "docker_compose_file": asking}


def _absent(_method: str, url: str, _body: bytes, response: Response) -> Response:
    return NOT_FOUND if "registry.lab.invalid" in url else response


def _out_of_order(_method: str, url: str, _body: bytes, response: Response) -> Response:
    return answer_json(400, {"errors": []}) if "registry.lab.invalid" in url else response
