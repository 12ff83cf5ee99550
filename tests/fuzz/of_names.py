"""Targets: names, certificate logs, registries, signatures of images, and files of any kind."""

import json
from pathlib import Path
from typing import Final

from fixtures.vectors import ROOT as VECTORS
from tests.fuzz.files import in_file
from tests.fuzz.of_guests import JSON, world
from tests.fuzz.target import Target, each
from verifier.errors import EvidenceError
from verifier.evidence import bundle_files, codec
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind, files_of, from_files, load
from verifier.evidence.certificate_log import parse_search
from verifier.evidence.dns_message import parse_answer
from verifier.evidence.domain import app_addresses, read_answers
from verifier.evidence.gateway import parse_acme_info
from verifier.evidence.images.oci import digest_of, parse_config, parse_manifest
from verifier.evidence.images.oci_archive import read_archive
from verifier.evidence.images.sigstore import parse_bundles, parse_statement
from verifier.evidence.import_files import import_files
from verifier.evidence.ingress import account_uri, parse_listing
from verifier.evidence.subject import read_subject
from verifier.lab.registry import WEB

_NAMES: Final = ("a.invalid",)
_TYPES: Final = ("CAA", "TXT", "CNAME")
_DNS: Final = bytes.fromhex("00008180000100010000000001610769 6e76616c696400".replace(" ", ""))
_BLOB: Final = b"{}"
_KINDS: Final = tuple(Kind)


def _dns(raw: bytes) -> object:
    """An answer about one of three types, which the first byte says."""
    kind = _TYPES[raw[0] % len(_TYPES)] if raw else "TXT"
    return app_addresses(parse_answer(raw[1:], _NAMES[0], kind, "answer"))


def _dns_seeds() -> list[bytes]:
    import dns.message  # noqa: PLC0415
    import dns.rrset  # noqa: PLC0415

    listed = {"CAA": '0 issue "ca.invalid; a=b"', "TXT": '"x" "y"', "CNAME": "b.invalid."}
    found = []
    for place, (kind, record) in enumerate(listed.items()):
        query = dns.message.make_query(_NAMES[0], kind, id=0)
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_text(f"{_NAMES[0]}.", 60, "IN", kind, record))
        found.append(bytes([place]) + answer.to_wire())
    return found


def _oci(raw: bytes) -> object:
    return each(
        lambda given: parse_manifest(given, digest_of(given)),
        lambda given: parse_config(given, digest_of(given)),
    )(raw)


def _manifest_of_bundle(raw: bytes) -> object:
    """A bundle's manifest, beside the one blob that it may name."""
    blob = f"blobs/{digest_of(_BLOB).removeprefix('sha256:')}"
    return from_files({"manifest.json": raw, blob: _BLOB}, Path("bundle"))


def _small_bundle() -> Bundle:
    builder = BundleBuilder()
    builder.add(Kind.INFO, _BLOB, source="https://a.invalid/", collected_at=1, status=200)
    builder.add_failure(Kind.PAGE, source="b", collected_at=2, error="none")
    return builder.build()


def _artifact(raw: bytes) -> object:
    """Evidence of any kind about an attester: the first byte says which."""
    builder = BundleBuilder()
    kind = _KINDS[raw[0] % len(_KINDS)] if raw else Kind.INFO
    source = "https://dns.google/dns-query?name=a.invalid&type=TXT"
    builder.add(kind, raw[1:], source=source, collected_at=1)
    bundle = builder.build()
    subject = read_subject(bundle, "")
    found: list[object] = [read_answers(bundle)]
    for source_of_quote in subject.quotes:
        try:
            found.append(source_of_quote.events())
        except EvidenceError as error:
            found.append(error)
    return found


def _artifacts() -> list[bytes]:
    """Every file of every honest vector that is told by its shape, as evidence of that kind."""
    found = []
    for path in sorted(VECTORS.glob("*/honest-*/*")):
        if path.name == "vector.json":
            continue
        try:
            bundle = import_files([("given", path.read_bytes())], collected_at=1)
        except EvidenceError:
            continue
        found += [bytes([_KINDS.index(item.kind)]) + bundle.blob(item) for item in bundle.artifacts]
    return found


def _files() -> list[bytes]:
    return [path.read_bytes() for path in sorted(VECTORS.glob("*/honest-*/*"))]


def _archive() -> list[bytes]:
    layer = b"layer"
    rootfs = {"type": "layers", "diff_ids": [digest_of(layer)]}
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).encode()
    described = [{"digest": digest_of(raw), "size": len(raw)} for raw in (config, layer)]
    manifest = json.dumps(
        {"schemaVersion": 2, "config": described[0], "layers": described[1:]}
    ).encode()
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest_of(manifest),
                "size": len(manifest),
            }
        ],
    }
    layout = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
        **{f"blobs/sha256/{digest_of(raw)[7:]}": raw for raw in (config, manifest, layer)},
    }
    listed = [{"Config": "config.json", "RepoTags": ["a:b"], "Layers": ["layer.tar"]}]
    saved = {
        "manifest.json": json.dumps(listed).encode(),
        "config.json": config,
        "layer.tar": layer,
    }
    return [bundle_files.to_tar(layout), bundle_files.to_tar(saved)]


def _statement(raw: bytes) -> object:
    return parse_statement(raw, "statement")


TARGETS: Final = (
    Target(name="dns-message", parse=_dns, given=_dns_seeds, tokens=(b"\xc0\x0c", _DNS)),
    Target(
        name="endpoint-files",
        parse=each(
            lambda raw: parse_listing(raw, "list"),
            lambda raw: account_uri(raw, "account"),
            lambda raw: parse_acme_info(raw, "acme-info"),
            lambda raw: parse_search(raw, "search"),
        ),
        records=(parse_listing, account_uri, parse_acme_info, parse_search),
        given=lambda: [
            b"0a" * 32 + b"  cert-a.invalid.pem\n",
            b'{"registration": {"uri": "https://ca.invalid/1"}}',
            json.dumps(world().gateway.acme_info()).encode(),
        ],
        tokens=JSON,
    ),
    Target(
        name="image-document",
        parse=_oci,
        records=(parse_manifest, parse_config),
        given=lambda: [WEB.config, WEB.manifest],
        tokens=JSON,
    ),
    Target(name="image-archive", parse=in_file(read_archive), given=_archive, tokens=JSON),
    Target(
        name="sigstore",
        parse=each(lambda raw: parse_bundles(raw, "bundles"), _statement),
        records=(parse_bundles, parse_statement),
        tokens=JSON,
    ),
    Target(
        name="any-file",
        parse=lambda raw: import_files([("given", raw)], collected_at=0),
        given=_files,
        tokens=JSON,
    ),
    Target(
        name="bundle",
        parse=in_file(load),
        given=lambda: [bundle_files.to_tar(files_of(_small_bundle()))],
    ),
    Target(
        name="bundle-manifest",
        parse=_manifest_of_bundle,
        given=lambda: [_small_bundle().manifest],
        tokens=JSON,
    ),
    Target(name="artifact", parse=_artifact, given=_artifacts, tokens=JSON),
    Target(
        name="json",
        parse=lambda raw: codec.parse_json(raw, "document"),
        given=lambda: [b'{"a": [1, -2.5e3, "\\u00e9", null, true]}'],
        tokens=JSON,
    ),
)
