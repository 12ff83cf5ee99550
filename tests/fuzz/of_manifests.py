"""Targets: manifests, compose files and Dockerfiles."""

from collections.abc import Iterable
from typing import Final

from tests.fuzz.of_guests import JSON
from tests.fuzz.target import Target, text
from verifier.evidence.compose.app_compose import parse_app_compose
from verifier.evidence.compose.compose_yaml import parse_compose, parse_documents
from verifier.evidence.compose.dockerfile import parse_dockerfile
from verifier.evidence.compose.interpolation import parse_template
from verifier.lab.guest import manifest_text
from verifier.lab.knobs import Knobs
from verifier.manifest.audit import audit_compose_file, audit_dockerfile, audit_manifest
from verifier.manifest.diff import compare, read_compose_document, read_document

_VERSIONS: Final = (Knobs(), Knobs(version="0.3.6"), Knobs(public_sysinfo=True, public_logs=True))
_HALVES: Final = b"\n=====\n"
YAML: Final = tuple(
    item.encode()
    for item in (
        *("<<: *a", "&a ", "*a", "!!int ", "!reset ", "\n---\n", "- ", "? ", "| ", ">-", "#"),
        *("services:", "image:", "ports:", "volumes:", "environment:", "privileged: true"),
        *("build:", "command:", "network_mode: host", "configs:", "secrets:", "extends:"),
        *("${A:-${B}}", "${", "$$", "${A?b}", "\t", "@sha256:", "/var/run/docker.sock", "1:2"),
    )
)
_DOCKERFILE: Final = (
    b"# syntax=docker/dockerfile:1\nARG V=1\nFROM debian:${V:-12}@sha256:%s AS a\n"
    b'ENV A=b "C"=d\nRUN <<EOF sh\necho $A\nEOF\nCOPY --from=a /x /y\nCMD ["x", "y"]\n'
) % (b"0a" * 32)


def manifests() -> list[bytes]:
    """Manifests as guests of several releases have them."""
    return [manifest_text(item).encode() for item in _VERSIONS]


def _composes() -> list[bytes]:
    return [(parse_app_compose(raw).compose or "").encode() for raw in manifests()]


def _pairs(listed: Iterable[bytes]) -> list[bytes]:
    items = list(listed)
    return [old + _HALVES + new for old in items for new in items]


def _compared(raw: bytes) -> object:
    """Two manifests or two compose files, with a line between them."""
    old, _, new = raw.partition(_HALVES)
    read = read_document if raw[:1] == b"{" else read_compose_document
    return compare(read("old", old), read("new", new))


TARGETS: Final = (
    Target(
        name="app-compose",
        parse=parse_app_compose,
        records=(parse_app_compose,),
        tokens=JSON,
    ),
    Target(name="manifest", parse=audit_manifest, given=manifests, tokens=JSON + YAML),
    Target(name="compose-file", parse=audit_compose_file, given=_composes, tokens=YAML),
    Target(
        name="compose-yaml",
        parse=lambda raw: (parse_documents(text(raw), "x"), parse_compose(text(raw), "x")),
        records=(parse_documents,),
        given=_composes,
        tokens=YAML,
    ),
    Target(
        name="interpolation",
        parse=lambda raw: parse_template(text(raw)),
        records=(parse_template,),
        given=lambda: [b"${A:-${B:?c}} $$D $E ${F+g}"],
        tokens=(b"${", b"}", b":-", b":?", b":+", b"$$", b"$A"),
    ),
    Target(
        name="dockerfile",
        parse=lambda raw: (parse_dockerfile(raw), audit_dockerfile(raw)),
        given=lambda: [_DOCKERFILE],
        tokens=(b"FROM ", b"ARG ", b"ENV ", b"RUN <<A\n", b"COPY --from=", b"\\\n", b"# escape=`"),
    ),
    Target(
        name="comparison",
        parse=_compared,
        given=lambda: [*_pairs(manifests()), *_pairs(_composes())],
        tokens=(_HALVES, *YAML),
    ),
)
