"""Targets: OS images, logs, reports, policies and settings: files that users hand over."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Final

from fixtures.vectors import ROOT as VECTORS
from tests.fuzz.files import folder_with
from tests.fuzz.of_guests import JSON, world
from tests.fuzz.of_manifests import manifests
from tests.fuzz.target import Target, each, text
from tests.image.images import checksums, files_of, firmware, kernel
from tests.watch.logs import KEY
from verifier.cli.project import parse_project
from verifier.collect.challenges import parse_challenges
from verifier.conformance.corpus import read_corpus
from verifier.errors import EvidenceError, UsageError
from verifier.evidence.bundle_files import to_tar
from verifier.evidence.endpoint import parse_endpoint
from verifier.evidence.images.oci import parse_reference as parse_image
from verifier.evidence.td.report_data import parse_binding
from verifier.image.files import parse_checksums, read_image
from verifier.image.kernel import as_patched, authenticode, kernel_events
from verifier.image.measurement import measure_image, read_measurement, to_json
from verifier.image.tdvf import measure_firmware, read_sections
from verifier.manifest.audit import audit_manifest
from verifier.manifest.ignore import parse_baseline
from verifier.model.identifiers import parse_app_id, parse_key_holder, parse_time
from verifier.model.result import Severity
from verifier.policy.policy import load_policy
from verifier.reference.values import parse_reference
from verifier.report.audit.ear import read_ear
from verifier.report.audit.earlier import read_report
from verifier.report.audit.statement import read_statement
from verifier.report.diff.told import read_diff
from verifier.report.lint.told import read_lints
from verifier.report.timeline.earlier import read_timeline
from verifier.watch.log.check import check_log
from verifier.watch.log.notes import (
    Checkpoint,
    open_checkpoint,
    parse_verifier_key,
    read_private_key,
)
from verifier.watch.log.tiles import pack_entries, unpack_entries
from verifier.watch.observation import decode
from verifier.watch.targets import read_targets

_ROOT: Final = Path(__file__).parents[2]
_REPORTS: Final = _ROOT / "reports"
_MIB: Final = 1 << 20
_TOML: Final = (b"[[", b"]]", b'"""', b"'''", b" = ", b"1979-05-27", b"inf", b"{", b"[", b"\\u0000")
_PROJECT: Final = (
    b'policy = "strict"\n[endpoints]\ngateway = "https://a.invalid"\n[apps.api]\n'
    b'id = "' + b"0a" * 20 + b'"\n[expect]\nimage = ["web=sha256:' + b"0b" * 32 + b'"]\n'
)
_BASELINE: Final = b'[[ignore]]\nrule = "IMG-001"\nreason = "known"\nexpires = 2030-01-01\n'
_PRIVATE_KEY: Final = b"-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n" % (
    base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + bytes(32))
)
_LIST: Final = b"# apps\n" + b"0a" * 20 + b" shop\nhttps://a.invalid/ b  # c\n"
_CHALLENGE: Final = b'Bearer realm="https://a.invalid/token",service="a",scope="b", Basic realm=c'


def _kernel(raw: bytes) -> object:
    found = authenticode(raw, "sha256"), kernel_events(raw)
    return found, as_patched(raw, 50 * _MIB, 4096 * _MIB)


def _image(raw: bytes) -> object:
    return measure_image(read_image(in_place(raw)))


def in_place(raw: bytes) -> Path:
    """The one file of a folder, which these bytes are."""
    return folder_with({"image.tar": raw}) / "image.tar"


def _image_archive() -> list[bytes]:
    files = files_of()
    return [to_tar({**files, "sha256sum.txt": checksums(files)})]


def _measurements() -> list[bytes]:
    found = measure_image(read_image(in_place(_image_archive()[0])))
    return [json.dumps(to_json(found)).encode()]


def _checkpoint() -> bytes:
    return KEY.sign(Checkpoint("example.org/watch", 3, bytes(32)))


def _log(raw: bytes) -> object:
    """A log of three entries whose tile is this, below a checkpoint that its key signed."""
    files = {"checkpoint": _checkpoint(), "tile/entries/000.p/3": raw, "tile/0/000.p/3": raw[:96]}
    return check_log(folder_with(files), KEY.verifier)


def _entries(raw: bytes) -> object:
    """A tile of so many entries as the first byte says, each of which is read."""
    entries = unpack_entries(raw[1:], raw[0] if raw else 0, "tile")
    return [decode(entry, "entry") for entry in entries]


def _observations() -> list[bytes]:
    """A tile of two observations, of which one could not be made."""
    from verifier.watch.observation import encode, observe, unobserved  # noqa: PLC0415

    report = read_report((_REPORTS / "demo.json").read_bytes())
    made = (
        encode(observe(report, "0a" * 20, "shop")),
        encode(unobserved("0a" * 20, "shop", 1, "no answer", "")),
    )
    return [b"\2" + pack_entries(made)]


def _reports(*names: str) -> list[bytes]:
    return [path.read_bytes() for name in names for path in sorted(_REPORTS.glob(name))]


def _lints_and_comparisons() -> list[bytes]:
    from verifier.manifest.diff import compare, read_document  # noqa: PLC0415
    from verifier.report.diff.json import render_json  # noqa: PLC0415
    from verifier.report.diff.told import tell as tell_comparisons  # noqa: PLC0415
    from verifier.report.lint.places import Lint  # noqa: PLC0415
    from verifier.report.lint.sarif import render_lint_json  # noqa: PLC0415
    from verifier.report.lint.told import tell as tell_lints  # noqa: PLC0415

    old, new = (read_document(f"{n}", raw) for n, raw in enumerate(manifests()[:2]))
    audit = audit_manifest(manifests()[0])
    lint = Lint(
        name="a",
        raw=manifests()[0],
        whole=True,
        audit=audit,
        findings=tuple(audit.findings),
        ignored=(),
        notes=(),
        min_severity=Severity.MEDIUM,
    )
    return [
        render_lint_json(tell_lints([lint], "tool")).encode(),
        render_json(tell_comparisons([compare(old, new)], Severity.MEDIUM)),
    ]


def _policies() -> list[bytes]:
    folder = _ROOT / "verifier" / "policy"
    return [path.read_bytes() for path in sorted(folder.glob("*.toml"))]


def _policy(raw: bytes) -> object:
    return load_policy(str(folder_with({"policy.toml": raw}) / "policy.toml"))


@cache
def _beside_a_vector() -> dict[str, bytes]:
    reference = (VECTORS / "reference" / "world.json").read_bytes()
    return {"quote/honest/quote.bin": b"", "root.der": b"", "reference.json": reference}


def _vector(raw: bytes) -> object:
    """A corpus whose one vector says this of itself."""
    files = {"quote/honest/vector.json": raw, **_beside_a_vector()}
    return [item.files() for item in read_corpus(folder_with(files))]


def _vectors() -> list[bytes]:
    """Honest vectors, as if each stood where `_vector` puts it."""
    found = []
    for path in sorted(VECTORS.glob("quote/honest-*/vector.json"))[:2]:
        document = json.loads(path.read_bytes())
        held = {name.rpartition("/")[2]: raw for name, raw in _beside_a_vector().items()}
        digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in held.items()}
        place = {"name": "honest", "root": "root.der", "reference": "reference.json"}
        found.append(json.dumps(document | place | {"sha256": digests}).encode())
    return found


def _words(raw: bytes) -> object:
    """What a command line takes apart."""
    given = text(raw)
    read_targets(given, _spelled)
    return (
        parse_endpoint(given),
        parse_app_id(given),
        parse_key_holder(given),
        parse_time(given),
        parse_challenges(given.split("\n")),
        *(_or_none(reader, given) for reader in (parse_image, parse_binding, parse_verifier_key)),
    )


def _spelled(word: str) -> str:
    if parse_app_id(word) is None:
        raise UsageError("names nothing")
    return word


def _or_none(reader: object, given: str) -> object:
    try:
        return reader(given)  # type: ignore[operator]
    except (EvidenceError, UsageError):
        return None


_ARGUMENTS: Final = (
    *(b"https://a.invalid:8443/x?y", b"[::1]:443", b"0a" * 20, b"0x" + b"0B" * 20),
    *(b"2026-06-15T12:00:00Z", b"registry.invalid/a/b:c@sha256:" + b"0a" * 32, _LIST, _CHALLENGE),
    *(b"leaf=" + b"0a" * 32, str(KEY.verifier).encode(), b"kms/0:" + b"0a" * 20),
)

TARGETS: Final = (
    Target(
        name="firmware",
        parse=lambda raw: (read_sections(raw), measure_firmware(raw)),
        given=lambda: [firmware()],
        tokens=(b"TDVF",),
    ),
    Target(name="kernel", parse=_kernel, given=lambda: [kernel()], tokens=(b"PE\0\0", b"HdrS")),
    Target(
        name="checksums",
        parse=lambda raw: parse_checksums(raw, "list"),
        given=lambda: [checksums(files_of())],
    ),
    Target(
        name="measurements",
        parse=lambda raw: read_measurement(raw, "document"),
        given=_measurements,
        tokens=JSON,
    ),
    Target(name="os-image", parse=_image, given=_image_archive),
    Target(
        name="checkpoint",
        parse=lambda raw: open_checkpoint(raw, KEY.verifier),
        given=lambda: [_checkpoint()],
    ),
    Target(
        name="witness-log",
        parse=_log,
        given=lambda: [pack_entries([b"{}", b"", b"x"]), bytes(96)],
    ),
    Target(name="observations", parse=_entries, given=_observations, tokens=JSON),
    Target(
        name="report",
        parse=read_report,
        given=lambda: _reports("demo.json", "refused.json"),
        tokens=JSON,
    ),
    Target(
        name="timeline",
        parse=read_timeline,
        given=lambda: _reports("demo-timeline.json"),
        tokens=JSON,
    ),
    Target(
        name="lints-and-comparisons",
        parse=each(read_lints, read_diff),
        given=_lints_and_comparisons,
        tokens=JSON,
    ),
    Target(
        name="statement",
        parse=each(read_statement, read_ear),
        given=lambda: _reports("*.intoto.json", "*.ear.json"),
        tokens=JSON,
    ),
    Target(
        name="policy",
        parse=_policy,
        given=_policies,
        refuses=(UsageError,),
        tokens=(*_TOML, b'extends = "baseline"', b"[checks]", b"[[waivers]]", b"[governance]"),
    ),
    Target(
        name="project",
        parse=lambda raw: parse_project(raw, Path("dstack-audit.toml")),
        given=lambda: [_PROJECT],
        refuses=(UsageError,),
        tokens=_TOML,
    ),
    Target(
        name="baseline",
        parse=parse_baseline,
        given=lambda: [_BASELINE],
        refuses=(UsageError,),
        tokens=_TOML,
    ),
    Target(
        name="private-key",
        parse=lambda raw: read_private_key(raw, "key"),
        given=lambda: [_PRIVATE_KEY],
        refuses=(UsageError,),
    ),
    Target(name="vector", parse=_vector, given=_vectors, tokens=JSON),
    Target(
        name="reference-values",
        parse=lambda raw: parse_reference(raw, unsafe="simulated"),
        given=lambda: [world().reference()],
        refuses=(UsageError,),
        tokens=JSON,
    ),
    Target(name="arguments", parse=_words, given=lambda: _ARGUMENTS),
)
