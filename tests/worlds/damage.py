"""Every way to take away, or to spoil, one part of some evidence.

A part is an artifact, a header that was kept with it, a node of its JSON (also of JSON that stands
as text in JSON, or escaped in a page), a text of its page, a certificate of a PEM chain, or one
extension of such a certificate.
"""

import hashlib
import html
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct
from msgspec.structs import replace

from verifier.evidence.bundle import Artifact, Bundle, Kind

PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
TEXT: Final = re.compile(r"(?<=>)[^<]*[^<\s][^<]*(?=<)")
STRANGER: Final = ec.derive_private_key(0x5EED, ec.SECP256R1())
"""Who signs a certificate from which an extension was taken: not its issuer, who has the key."""

GONE: Final = object()
"""What an edit gives for a part that is to be removed."""

Edit = Callable[[Any], Any]


class Json(Struct, frozen=True, tag=True):
    """The document that a text holds."""


class PageText(Struct, frozen=True, tag=True):
    """The text of this number in a page, unescaped."""

    number: int


class Header(Struct, frozen=True, tag=True):
    """The value of a header that was kept with the answer, without percent-encoding."""

    name: str


class Certificate(Struct, frozen=True, tag=True):
    """The certificate of this number in a text."""

    number: int


class Extension(Struct, frozen=True, tag=True):
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


def damages(bundle: Bundle, kinds: Collection[Kind] = frozenset(Kind)) -> list[Damage]:
    """All of them to evidence of these kinds, in the order of the bundle."""
    found = []
    for index, item in enumerate(bundle.artifacts):
        if item.sha256 is None or item.kind not in kinds:
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
    edit = (lambda _: GONE) if damage.removed else _spoiled
    return changed(bundle, damage.artifact, damage.path, edit)


def changed(bundle: Bundle, place: int, path: Sequence[object], edit: Edit) -> Bundle:
    """The bundle after the part at `path` of the artifact at this place went through `edit`, which
    gives `GONE` for what is to be removed; the whole artifact, as text, has no path."""
    item = bundle.artifacts[place]
    before, after = bundle.artifacts[:place], bundle.artifacts[place + 1 :]
    if path and isinstance(path[0], Header):
        return Bundle((*before, _with_header(item, path, edit), *after), bundle.blobs)
    text = _in(bundle.blob(item).decode(errors="replace"), path, edit)
    if text is GONE:
        return Bundle((*before, *after), bundle.blobs)
    raw = text.encode()
    new = with_blob(item, raw)
    return Bundle((*before, new, *after), {**bundle.blobs, str(new.sha256): raw})


def with_blob(item: Artifact, raw: bytes) -> Artifact:
    """An artifact that names other bytes."""
    return replace(item, sha256=hashlib.sha256(raw).hexdigest(), size=len(raw))


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


def _with_header(item: Artifact, path: Sequence[object], edit: Edit) -> Artifact:
    """An artifact after a part of one of its headers went through `edit`."""
    headers = []
    for name, value in item.headers:
        if Header(name) != path[0]:
            headers.append((name, value))
        elif (new := _in(unquote(value), path[1:], edit)) is not GONE:
            headers.append((name, quote(new)))
    return replace(item, headers=tuple(headers))


def _in(value: Any, path: Any, edit: Edit) -> Any:
    """A value in which the part at `path` went through `edit`."""
    if not path:
        return edit(value)
    step, *rest = path

    def part(held: Any) -> Any:
        return _in(held, rest, edit)

    if isinstance(step, Json):
        return json.dumps(part(json.loads(value)))
    if isinstance(step, PageText):
        return _nth(
            TEXT, value, step.number, lambda held: html.escape(_text(part(html.unescape(held))))
        )
    if isinstance(step, Certificate):
        return _nth(PEM, value, step.number, lambda held: _text(part(held)))
    if isinstance(step, Extension):
        return _without_extension(value, step.number)
    copy = value.copy()
    new = part(value[step])
    if new is GONE:
        del copy[step]
    else:
        copy[step] = new
    return copy


def _text(part: Any) -> str:
    return "" if part is GONE else str(part)


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
    signed = builder.sign(STRANGER, hashes.SHA256(), ecdsa_deterministic=True)
    return signed.public_bytes(Encoding.PEM).decode().strip()
