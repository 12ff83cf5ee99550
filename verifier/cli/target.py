"""What a TARGET names: an app id, a metadata URL, a Trust Center URL, a custom domain, a bundle."""

import re
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import UsageError, nearest
from verifier.evidence.endpoint import HTTPS_PORT, METADATA_PORT, Endpoint, parse_endpoint
from verifier.evidence.guest.proof import PATH as PROOF_PATH
from verifier.model.identifiers import AppId, parse_app_id
from verifier.patterns import pattern

_TRUST_CENTER: Final = "trust.phala.com"
_GATEWAY_LABEL: Final = pattern(r"([0-9a-fA-F]{40})(?:-([0-9]{1,5}))?[sg]?", re.ASCII)
_SCHEME: Final = pattern(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)
_HEX: Final = pattern(r"(?:0[xX])?([0-9a-fA-F]{16,128})", re.ASCII)
_DOMAIN: Final = pattern(
    r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.ASCII
)


class Target(Struct, frozen=True, kw_only=True):
    """A parsed TARGET.

    text      as the user wrote it, in its own spelling
    app_id    the app id that it names; None for none
    guest     base URL of the guest agent that it names; "" for none
    domain    the custom domain that it names; "" for none
    proof     URL of the published attestation proof that it names; "" for none
    bundle    the path of the bundle that it names; None for none
    endpoint  the address that users connect to, where TARGET is one; None where it is not
    alone     whether `guest` answers by itself, with no gateway before it
    """

    text: str
    app_id: AppId | None = None
    guest: str = ""
    domain: str = ""
    proof: str = ""
    bundle: Path | None = None
    endpoint: Endpoint | None = None
    alone: bool = False

    def of_app(self, app_id: AppId) -> "Target":
        """The same address, of an app that its name does not tell."""
        return replace(self, app_id=app_id)


def parse_target(text: str, commands: frozenset[str] = frozenset()) -> Target:
    """What a TARGET names. Raises UsageError (a usage error) when it names nothing known."""
    if not text.strip():
        raise UsageError("TARGET is empty", hint="give an app id: 40 hex digits")
    app_id = parse_app_id(text)
    if app_id is not None:
        return Target(text=app_id, app_id=app_id)
    if text.lower().startswith(("http://", "https://")):
        return _own_guest(text) or _parse_url(text)
    if _GATEWAY_LABEL.fullmatch(text.partition(".")[0]) and _DOMAIN.fullmatch(text.lower()):
        return _parse_url(f"https://{text}")
    if _SCHEME.match(text):
        raise UsageError(
            f"{text!a} is not an address that is asked", hint="such as https://host.example"
        )
    path = Path(text)
    if "/" in text or text.endswith(".tar") or _exists(path):
        return Target(text=text, bundle=path)
    if _DOMAIN.fullmatch(text.lower()):
        return Target(text=text.lower(), domain=text.lower(), endpoint=parse_endpoint(text.lower()))
    digits = _HEX.fullmatch(text)
    if _is_own(text.partition(":")[0], None):
        raise UsageError(f"{text!a} is no TARGET", hint=f"of a guest agent there: http://{text}")
    raise UsageError(
        f"{text!a} is no app id (40 hex digits), URL, domain or bundle, and no command",
        hint=f"it has {len(digits[1])} hex digits, and an app id has 40"
        if digits and not _written_right(text)
        else command_hint(text, commands),
    )


def names_something(text: str) -> bool:
    """Whether an argument is an app id, URL, domain, or what exists as a file."""
    try:
        parse_target(text)
    except UsageError:
        return False
    return True


def command_hint(text: str, commands: frozenset[str]) -> str:
    """The command that was probably meant."""
    if text.casefold() == "version":
        return "did you mean `verify --version`?"
    near = _written_right(text) or nearest(text, commands)
    return f"did you mean `verify {near}`?" if near else "see `verify --help`"


def _written_right(text: str) -> str:
    """What was probably meant: an app id or a domain in its own spelling, "" for neither."""
    plain = text.strip().lower().removesuffix(".")
    if parse_app_id(plain) is not None:
        return parse_app_id(plain) or ""
    with suppress(UnicodeError):
        plain = plain.encode("idna").decode("ascii")
    return plain if _DOMAIN.fullmatch(plain) else ""


def parse_serving_address(text: str) -> Target:
    """The address that users connect to, HOST:PORT or an https URL, as TARGET. Raises UsageError.

    What its name does not tell has to be said beside it: of an address, nobody knows the app.
    """
    endpoint = named_endpoint(text, "the address")
    try:
        port = "" if endpoint.port == HTTPS_PORT else f":{endpoint.port}"
        target = _parse_url(f"https://{endpoint.host}{port}")
    except UsageError:
        target = Target(text=str(endpoint))
    return replace(target, text=str(endpoint), endpoint=endpoint)


def named_endpoint(text: str, what: str) -> Endpoint:
    """An address that users connect to by TLS. Raises UsageError."""
    found = parse_endpoint(text)
    if found is None:
        raise UsageError(
            f"{what} {text!a} is not HOST:PORT, nor an https URL",
            hint="such as app.example.org:443",
        )
    return found


def _own_guest(text: str) -> Target | None:
    """The address of one guest agent itself, with no gateway before it: on this machine or an
    address, such as a forwarded port, or a name with the port of guest agents. None for others."""
    parts = split_url(text, "TARGET")
    host = parts.hostname or ""
    if _GATEWAY_LABEL.fullmatch(host.partition(".")[0]) or not _is_own(host, parts.port):
        return None
    guest = f"{parts.scheme}://{parts.netloc}"
    return Target(text=guest, guest=guest, alone=True)


def _is_own(host: str, port: int | None) -> bool:
    with suppress(ValueError):
        return bool(ip_address(host))
    local = host == "localhost" or host.endswith(".localhost")
    return local or (port == METADATA_PORT and _DOMAIN.fullmatch(host) is not None)


def _parse_url(text: str) -> Target:
    parts = split_url(text, "TARGET")
    host = parts.hostname or ""
    if host == _TRUST_CENTER:
        app_id = parse_app_id(parts.path.rstrip("/").rpartition("/")[2])
        if app_id is None:
            raise UsageError(
                f"{text!a} names no app", hint=f"https://{_TRUST_CENTER}/app/<app id> does"
            )
        return Target(text=app_id, app_id=app_id)
    label, _, gateway = parts.netloc.partition(".")
    match = _GATEWAY_LABEL.fullmatch(label)
    if match and gateway:
        identifier = AppId(match[1].lower())
        metadata = match[2] is not None and int(match[2]) == METADATA_PORT
        return Target(
            text=text,
            app_id=identifier,
            guest=f"{parts.scheme}://{identifier}-{METADATA_PORT}.{gateway}",
            endpoint=None if metadata else parse_endpoint(f"{parts.scheme}://{parts.netloc}"),
            proof=_proof_url(parts),
        )
    if _DOMAIN.fullmatch(host):
        return Target(
            text=host,
            domain=host,
            endpoint=parse_endpoint(f"https://{parts.netloc}"),
            proof=_proof_url(parts),
        )
    raise UsageError(
        f"{text!a} is not the address of a metadata page",
        hint="a metadata page is at https://<app id>-8090.<gateway domain>/",
    )


def _proof_url(parts: SplitResult) -> str:
    """The URL, where it is that of an attestation proof; else ""."""
    named = parts.path.rstrip("/") == PROOF_PATH
    return f"{parts.scheme}://{parts.netloc}{PROOF_PATH}" if named else ""


def split_url(text: str, what: str) -> SplitResult:
    """The parts of an http(s) URL. Raises UsageError when it is none, or holds a user name."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{what} {text!a} is not a URL", hint="such as https://host.example")
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"{what}: the URL holds a user name", hint="give it without `user@`")
    return parts


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
