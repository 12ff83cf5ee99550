"""Every way to take away, or to spoil, one part of some evidence.

A part is an artifact, a header that was kept with it, a node of its JSON (also of JSON that stands
as text in JSON, or escaped in a page), a text of its page, a certificate of a PEM chain, or one
extension of such a certificate.
"""

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from verifier.evidence.bundle import Artifact, Bundle, BundleBuilder

PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
TEXT: Final = re.compile(r"(?<=>)[^<]*[^<\s][^<]*(?=<)")
STRANGER: Final = ec.derive_private_key(0x5EED, ec.SECP256R1())
"""Who signs a certificate from which an extension was taken: not its issuer, who has the key."""

Step = str | int


@dataclass(frozen=True, slots=True)
class Json:
    """The document that a text holds."""


@dataclass(frozen=True, slots=True)
class PageText:
    """The text of this number in a page, unescaped."""

    number: int


@dataclass(frozen=True, slots=True)
class Header:
    """The value of a header that was kept with the answer, without percent-encoding."""

    name: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of this number in a text."""

    number: int


@dataclass(frozen=True, slots=True)
class Extension:
    """The extension of this number in a certificate."""

    number: int


@dataclass(frozen=True, slots=True)
class Damage:
    """One part of one artifact (its place in the bundle), removed or spoiled."""

    artifact: int
    path: tuple[object, ...]
    removed: bool

    def __str__(self) -> str:
        verb = "without" if self.removed else "spoiled"
        return f"{self.artifact}: {verb} {'/'.join(map(str, self.path))}"


def damages(bundle: Bundle) -> list[Damage]:
    """All of them, in the order of the bundle."""
    found = []
    for index, item in enumerate(bundle.artifacts):
        if item.sha256 is None:
            continue
        parts: list[tuple[object, ...]] = [()]
        for name, value in item.headers:
            parts.append((Header(name),))
            parts += ((Header(name), *rest) for rest in _certificates(unquote(value)))
        text = bundle.blob(item).decode(errors="replace")
        parts += ((Json(), *rest) for rest in _json(text))
        if not parts[1:] and "<" in text:
            for number, part in enumerate(TEXT.findall(text)):
                parts += (
                    ((PageText(number), *rest)) for rest in ((), *_in_text(html.unescape(part)))
                )
        found += [
            Damage(index, path, removed)
            for path in parts
            for removed in ((True,) if path and isinstance(path[-1], Extension) else (True, False))
        ]
    return found


def damaged(bundle: Bundle, damage: Damage) -> Bundle:
    """The bundle with this damage done to it."""
    builder = BundleBuilder()
    kept = []
    for index, item in enumerate(bundle.artifacts):
        if index != damage.artifact:
            kept.append(item)
            continue
        if not damage.path and damage.removed:
            continue
        changed, raw = _change(item, bundle.blob(item), damage)
        builder.add(
            changed.kind,
            raw,
            source=changed.source,
            collected_at=changed.collected_at,
            subject=changed.subject,
            status=changed.status,
            media_type=changed.media_type,
            headers=dict(changed.headers),
            request=changed.request,
            peer=changed.peer,
        )
    new = builder.build()
    return Bundle((*kept, *new.artifacts), {**bundle.blobs, **new.blobs})


def _in_text(text: str) -> Iterator[tuple[object, ...]]:
    """Everything inside a text: the document that it is, or the certificates in it."""
    inside = [(Json(), *rest) for rest in _json(text)]
    yield from inside or _certificates(text)


def _json(text: str) -> Iterator[tuple[object, ...]]:
    """Each node below a document's root."""
    if text[:1] not in ("{", "["):
        return
    try:
        document = json.loads(text)
    except ValueError:
        return
    yield from _below(document)


def _below(value: Any) -> Iterator[tuple[object, ...]]:
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    elif isinstance(value, str):
        yield from _in_text(value)
    for key, held in entries:
        yield (key,)
        yield from ((key, *rest) for rest in _below(held))


def _certificates(text: str) -> Iterator[tuple[object, ...]]:
    for number, pem in enumerate(PEM.findall(text)):
        yield (Certificate(number),)
        try:
            held = x509.load_pem_x509_certificate(pem.encode()).extensions
        except ValueError:
            continue
        yield from ((Certificate(number), Extension(each)) for each in range(len(held)))


def _change(item: Artifact, raw: bytes, damage: Damage) -> tuple[Artifact, bytes]:
    if not damage.path:
        return item, _spoiled(raw.decode(errors="replace")).encode()
    first, *rest = damage.path
    if isinstance(first, Header):
        headers = []
        for name, value in item.headers:
            if name != first.name:
                headers.append((name, value))
            elif rest or not damage.removed:
                headers.append((name, quote(_in(unquote(value), rest, damage.removed))))
        return replace(item, headers=tuple(headers)), raw
    return item, _in(raw.decode(errors="replace"), damage.path, damage.removed).encode()


def _in(value: Any, path: Any, removed: bool) -> Any:  # noqa: FBT001
    """A value in which the part at `path` is spoiled, or is removed from what holds it."""
    if not path:
        return _spoiled(value)
    step, *rest = path
    gone = removed and not rest

    def part(held: Any) -> Any:
        return _in(held, rest, removed)

    if isinstance(step, Json):
        return json.dumps(part(json.loads(value)))
    if isinstance(step, PageText):
        return _nth(
            TEXT,
            value,
            step.number,
            lambda held: "" if gone else html.escape(part(html.unescape(held))),
        )
    if isinstance(step, Certificate):
        return _nth(PEM, value, step.number, lambda held: "" if gone else part(held))
    if isinstance(step, Extension):
        return _without_extension(value, step.number)
    copy = value.copy()
    if gone:
        del copy[step]
    else:
        copy[step] = part(value[step])
    return copy


def _nth(pattern: re.Pattern[str], text: str, number: int, edit: Callable[[str], str]) -> str:
    match = list(pattern.finditer(text))[number]
    return text[: match.start()] + edit(match[0]) + text[match.end() :]


def _spoiled(value: Any) -> Any:
    """Something else of the same type: what a reader may take for the real thing."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        middle = len(value) // 2
        other = "1" if value[middle : middle + 1] == "0" else "0"
        return value[:middle] + other + value[middle + 1 :]
    if isinstance(value, list):
        return value[: len(value) // 2]
    if isinstance(value, dict):
        return dict(list(value.items())[: len(value) // 2])
    return 0


def _without_extension(pem: str, number: int) -> str:
    held = x509.load_pem_x509_certificate(pem.encode())
    builder = (
        x509.CertificateBuilder()
        .subject_name(held.subject)
        .issuer_name(held.issuer)
        .public_key(held.public_key())
        .serial_number(held.serial_number)
        .not_valid_before(held.not_valid_before_utc)
        .not_valid_after(held.not_valid_after_utc)
    )
    for index, extension in enumerate(held.extensions):
        if index != number:
            builder = builder.add_extension(extension.value, extension.critical)
    signed = builder.sign(STRANGER, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM).decode().strip()
