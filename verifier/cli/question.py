"""Options that state the relying party's question, from text to values. All raise UsageError."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from verifier.checks.case import Question
from verifier.cli.target import named_endpoint, split_url
from verifier.errors import EvidenceError, UsageError
from verifier.evidence.bundle import Bundle
from verifier.evidence.certificates import malformed
from verifier.evidence.chain.ethereum import checksum_address
from verifier.evidence.challenges import CHALLENGE, CHALLENGE_ENDPOINTS
from verifier.evidence.endpoint import Endpoint
from verifier.evidence.regular_file import read_given
from verifier.evidence.td.report_data import Binding
from verifier.model.identifiers import AppId, parse_app_id
from verifier.patterns import pattern
from verifier.policy.key_holder import named_key_holder
from verifier.reference.values import KmsRecord, OsImage, ReferenceValues, embedded, parse_reference

_MAX_ROOT_BYTES: Final = 4 << 20
DASHBOARDS: Final = ("trust-center", "dstack-verifier", "phala-cloud")
"""Whose statements can be set beside a report."""
_CHALLENGE: Final = pattern(r"(?:0x)?((?:[0-9a-fA-F]{2}){16,64})", re.ASCII)
_DIGEST: Final = pattern(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)


def reference_values(unsafe_root: Path | None) -> ReferenceValues:
    """The embedded values, or those of another trust anchor: a certificate (PEM or DER), or the
    whole reference document of a simulated world."""
    if unsafe_root is None:
        return embedded()
    try:
        raw = read_given(unsafe_root, _MAX_ROOT_BYTES)
    except OSError as error:
        raise UsageError(f"--unsafe-root {unsafe_root}: {error.strerror or error}") from error
    if len(raw) > _MAX_ROOT_BYTES:
        raise UsageError(f"--unsafe-root {unsafe_root}: larger than {_MAX_ROOT_BYTES} bytes")
    if raw.lstrip()[:1] == b"{":
        return simulated_reference(raw)
    root = _certificate(raw, unsafe_root)
    return embedded().with_root(
        root,
        "UNSAFE ROOT: the trust anchor was named with --unsafe-root and is not Intel's. "
        "Nothing in this report follows for real hardware.",
    )


def with_images(reference: ReferenceValues, paths: Iterable[Path]) -> ReferenceValues:
    """The same values, and the OS images that the user measured with `verify image`."""
    from verifier.cli.files import read_file  # noqa: PLC0415 - only where one is named
    from verifier.image.measurement import read_measurement  # noqa: PLC0415

    for path in paths:
        try:
            raw = read_file(path)
            images, firmware = read_measurement(raw, str(path))
        except EvidenceError as error:
            raise UsageError(f"--image: {error.message}", hint=error.hint) from error
        _refuse_another_name(images[0], reference, str(path))
        digest = hashlib.sha256(raw).hexdigest()
        reference = reference.with_images(images, (firmware,), digest)
    return reference


def _refuse_another_name(image: OsImage, reference: ReferenceValues, what: str) -> None:
    """The files of an image state their own release; the reference values are believed before
    them."""
    for row in reference.os_images:
        same_hash = row.os_image_hash == image.os_image_hash
        if (row.release == image.release and row.os_image_hash and not same_hash) or (
            same_hash and row.kind not in ("unknown", image.kind)
        ):
            raise UsageError(
                f"--image {what}: it calls itself dstack {image.release} ({image.kind}), hash "
                f"{image.os_image_hash[:16]}…; known is {row.release} ({row.kind}), hash "
                f"{row.os_image_hash[:16]}…",
                hint="these files are not the release that they say they are",
            )


def simulated_reference(raw: bytes) -> ReferenceValues:
    """The reference values of a simulated world; every report says what they are."""
    return parse_reference(
        raw,
        unsafe="SIMULATED: the trust anchor, the keys and the contracts are those of a simulated "
        "world. Nothing in this report follows for real hardware.",
    )


def simulated_question(app_id: str, reference: bytes, at: int) -> Question:
    """The question about a simulated world's app, by who collected its evidence."""
    return Question(
        app_id=AppId(app_id), reference=simulated_reference(reference), at=at, trusted=True
    )


def vouched(bundle: Bundle, digest: str) -> bool:
    """Whether the user vouches for this very bundle. A digest of another one is an error."""
    if not digest:
        return False
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise UsageError(
            f"--trust-bundle {digest!a} is not a digest",
            hint="write sha256: and 64 hex digits, as whoever collected the bundle gave them",
        )
    if match[1].lower() != bundle.digest:
        raise UsageError(
            "--trust-bundle names another bundle than this one",
            hint="ask whoever collected it for its digest: one that is read off the bundle itself "
            "vouches for nothing",
        )
    return True


def challenge_bytes(text: str) -> bytes:
    """16 to 64 bytes of report data."""
    if not text:
        return b""
    match = _CHALLENGE.fullmatch(text)
    if match is None:
        raise UsageError("--challenge is not 16 to 64 bytes of hex")
    return bytes.fromhex(match[1])


def challenge_url(text: str, challenge: str) -> tuple[str, tuple[Binding, ...]]:
    """Where the app answers a challenge, as it was written or as a known way of asking has it, ""
    when none was given; and what the report data commits to there."""
    if not text:
        return "", ()
    if not challenge:
        raise UsageError(
            "--challenge-url needs --challenge", hint="choose 32 random bytes: openssl rand -hex 32"
        )
    name, _, base = text.partition("=")
    if name in CHALLENGE_ENDPOINTS:
        endpoint, value = CHALLENGE_ENDPOINTS[name], challenge_bytes(challenge)
        return endpoint.address(plain_url(base, "--challenge-url"), value), endpoint.bindings(value)
    if CHALLENGE not in text:
        raise UsageError(
            f"--challenge-url {text!a} has no {CHALLENGE}",
            hint=f"write {CHALLENGE} where the app takes it, such as ?nonce={CHALLENGE}, or name a "
            f"known way: {'=URL, '.join(CHALLENGE_ENDPOINTS)}=URL",
        )
    split_url(text.replace(CHALLENGE, challenge), "--challenge-url")
    return text, ()


def named_kms(text: str, reference: ReferenceValues) -> KmsRecord | None:
    """The record of the KMS that the user names, or one with nothing else in it, for a KMS that
    only the user knows."""
    if not text:
        return None
    such_as = "such as 8453:0x2f83172A49584C017F2B256F0FB2Dca14126Ba9C"
    holder = named_key_holder(text, "--kms", such_as)
    for row in reference.kms:
        if holder in row.names:
            return row
    chain_id, _, contract = holder.rpartition(":")
    by_contract, is_address = bool(chain_id), holder.startswith("0x")
    called = text if by_contract or is_address else f"CA key {holder[-16:]}"
    return KmsRecord(
        name=f"{called}, named by the user",
        ca_spki="" if by_contract or is_address else holder,
        k256="",
        root_address=checksum_address(bytes.fromhex(holder[2:])) if is_address else "",
        chain_id=int(chain_id) if by_contract else None,
        contract=checksum_address(bytes.fromhex(contract[2:])) if by_contract else None,
        generation="",
        deployed_block=0,
        urls=(),
        source="--kms",
        date="",
    )


def dashboards(
    texts: Iterable[str], *, offline: bool
) -> tuple[tuple[tuple[str, bytes], ...], tuple[str, ...]]:
    """What `--compare` names: files, by name and bytes, and URLs. Raises UsageError."""
    from verifier.cli.files import read_file  # noqa: PLC0415 - few audits compare

    files, urls = [], []
    for text in texts:
        name, _, where = text.partition("=")
        if name not in DASHBOARDS or not where:
            raise UsageError(
                f"--compare {text!a} is not WHO=FILE or WHO=URL",
                hint=f"WHO is {', '.join(DASHBOARDS)}",
            )
        if "://" not in where:
            files.append((Path(where).name, read_file(Path(where))))
        elif offline:
            raise UsageError(
                "--compare: a bundle is audited without the network", hint="name a file"
            )
        else:
            urls.append(plain_url(where, "--compare"))
    return tuple(files), tuple(urls)


def kms_code(values: list[str]) -> tuple[str, ...]:
    """The sha256 (hex) of manifests that the user knows to run a KMS."""
    found = []
    for value in values:
        match = _DIGEST.fullmatch(value)
        if match is None:
            raise UsageError(
                f"--kms-code {value!a} is not a sha256",
                hint="write the 64 hex digits that `verify compose-hash` gives for its manifest",
            )
        found.append(match[1].lower())
    return tuple(found)


def one_app_id(values: list[str] | None) -> AppId | None:
    """The expected app id, when exactly one is given."""
    if not values or len(values) != 1:
        return None
    return parse_app_id(values[0])


def instance_ids(values: list[str]) -> tuple[str, ...]:
    """Instance ids, 40 lower-case hex digits each, in the order given."""
    found: dict[str, None] = {}
    for value in values:
        parsed = parse_app_id(value)
        if parsed is None:
            raise UsageError(f"--instance {value!a} is not an instance id (40 hex digits)")
        found[parsed] = None
    return tuple(found)


def serving_endpoint(text: str) -> Endpoint | None:
    """The address that users connect to, None when none was given."""
    return named_endpoint(text, "--endpoint") if text else None


def instance_guests(guest: str, instances: tuple[str, ...]) -> tuple[str, ...]:
    """The guest agent's URL, "" for none, in the place of each of these instances behind the same
    gateway; as it is where no instance is named."""
    if not guest or not instances:
        return (guest,) if guest else ()
    label, _, rest = guest.partition("://")[2].partition("-")
    return tuple(guest.replace(f"//{label}-{rest}", f"//{item}-{rest}") for item in instances)


def gateway_hosts(texts: Iterable[str]) -> tuple[str, ...]:
    """The base domains of gateways that are named as `gateway_url` has it."""
    return tuple(sorted({urlsplit(gateway_url(item)).hostname or "" for item in texts}))


def gateway_url(text: str) -> str:
    """A gateway as a URL: a bare domain is served over https."""
    return plain_url(text if "://" in text else f"https://{text}", "--gateway")


def plain_url(text: str, what: str) -> str:
    """A URL that is written into bundles and reports, so that it may hold no key."""
    parts = split_url(text, what)
    if parts.query or parts.fragment:
        raise UsageError(f"{what}: the URL holds a query", hint="give it without `?…`")
    return text.rstrip("/")


def rpc_endpoint(text: str) -> str:
    """An Ethereum endpoint. Its path and query may hold a key, and are recorded as a digest."""
    split_url(text, "--rpc-url")
    return text


def explorer(text: str) -> str:
    """A block explorer's address. What may hold a key is recorded as that of an endpoint is."""
    split_url(text, "--explorer-url")
    return text


def _certificate(raw: bytes, path: Path) -> bytes:
    from cryptography import x509  # noqa: PLC0415 - only for another root
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    try:
        load = (
            x509.load_pem_x509_certificate
            if raw.lstrip().startswith(b"-----")
            else x509.load_der_x509_certificate
        )
        certificate = load(raw)
        own = certificate.issuer == certificate.subject
    except malformed() as error:
        raise UsageError(
            f"{path}: not a certificate (PEM or DER), nor a reference document"
        ) from error
    if not own:
        raise UsageError(f"{path}: not a root certificate: it does not issue itself")
    return certificate.public_bytes(Encoding.DER)
