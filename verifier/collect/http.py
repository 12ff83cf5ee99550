"""The one HTTP client: every byte that collection receives comes through here.

Servers are hostile until their evidence proves itself. One exchange therefore has a cap on its
bytes, one deadline for everything (name resolution, TLS, redirects, retries, a body that drips),
at most three redirects and none to another origin, at most two retries (of a connection that
could not be made, 429 and 5xx), no compression, no cookies, and public addresses only unless the
user named another. Nothing is taken from the environment: no proxy, no netrc, no certificates.
"""

import functools
import http.cookiejar
import math
import ssl
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final, Protocol, Self

import httpcore
import httpx
from msgspec import Struct

from verifier.collect.budget import Budget
from verifier.collect.limits import Limits
from verifier.collect.network import System, Transport, is_loopback
from verifier.errors import Cause, CollectError, LimitError, NetworkError, NotFoundError
from verifier.patterns import pattern

if TYPE_CHECKING:
    from verifier.collect.shared import Shared

MAX_REDIRECTS: Final = 3
MAX_RETRY_AFTER_SECONDS: Final = 5
RETRY_PAUSES_SECONDS: Final = (0.5, 1.0)
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
_NOT_FOUND: Final = 404
_HTTPS: Final = 443
_TOO_MANY: Final = 429
_DENIALS: Final = frozenset({401, 403, 407, 511})
_USER_INFO: Final = pattern(r"(?<=//)[^/]*@")
_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "dstack-audit"}
_FOREIGN_ERRORS: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
    ValueError,
)


class Response(Struct, frozen=True, kw_only=True):
    """One complete answer, whatever its status.

    status            the HTTP status
    url               the logical URL that answered
    body              the raw bytes
    headers           (name, value) pairs in the order received
    peer_certificate  the TLS server's leaf certificate (DER); None without TLS
    exporter          what both ends of the TLS session alone compute; b"" where nobody asked for it
    received_at       when it was received, Unix seconds, where that was in another collection,
                      earlier; None where it was in this one
    """

    status: int
    url: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    peer_certificate: bytes | None = None
    exporter: bytes = b""
    received_at: int | None = None

    def header(self, name: str) -> str:
        """The first value of a header (case-insensitive), or the empty string."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def require_ok(self) -> Self:
        """The response itself if its status is 2xx.

        Raises NotFoundError for 404, else NetworkError.
        """
        if self.status in range(200, 300):
            return self
        text = printable(self.body[:200].decode("utf-8", "replace"))
        message = f"{printable(self.url)}: HTTP {self.status}" + (f": {text}" if text else "")
        if self.status == _NOT_FOUND:
            hint = "check the name that was asked for, and the server's"
            raise NotFoundError(message, hint=hint, cause=Cause.NOT_FOUND)
        hint, cause = _status_hint(self.status), _status_cause(self.status)
        raise NetworkError(message, hint=hint, cause=cause)


class Answer(Protocol):
    """What a world in memory answers."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers by name."""

    @property
    def body(self) -> bytes:
        """The raw body."""


Responder = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""A world in memory: (method, logical URL, request headers, body) → answer."""

Handshakes = Callable[[str, int], bytes]
"""A world's TLS servers: (host, port) → their certificates (PEM, the leaf first), b"" for none."""


class HttpClient:
    """The client (see the module's text). A context manager, safe to use from several threads.

    `clock` gives Unix seconds; it stamps what is collected. `allow_hosts` holds the host names,
    `.suffixes` and addresses that the user named, which may then be private. `routes` serves
    logical hosts (names or `.suffixes`) from a loopback (address, port), and `responder` serves
    every request from memory: both keep the logical https URL and every limit. `handshakes` answers
    in place of TLS servers. `budget` is what all requests together may cost, `shared` what other
    collections share with this one.
    """

    def __init__(  # noqa: PLR0913 - what a simulated world or a test replaces
        self,
        *,
        clock: Callable[[], int],
        allow_hosts: Collection[str] = (),
        routes: Mapping[str, tuple[str, int]] | None = None,
        responder: Responder | None = None,
        handshakes: Handshakes | None = None,
        system: System | None = None,
        budget: Budget | None = None,
        shared: "Shared | None" = None,
    ) -> None:
        self.clock = clock
        self.shared = shared
        self._system = system or System()
        self.budget = budget or Budget(monotonic=self._system.monotonic)
        self._handshakes = handshakes
        self._transport = (
            None
            if responder
            else Transport(allow_hosts=allow_hosts, routes=routes, system=self._system)
        )
        self._client = httpx.Client(
            transport=_Memory(responder) if responder else self._transport,
            headers=_HEADERS,
            cookies=http.cookiejar.CookieJar(
                http.cookiejar.DefaultCookiePolicy(allowed_domains=())
            ),
            trust_env=False,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def handshake(self, host: str, port: int, *, limits: Limits) -> Response:
        """The certificates (PEM, the leaf first) that the TLS server of an address sends, and the
        header `tls-version`; whose they are is for checks to say. Raises NetworkError, LimitError.
        """
        began = self._system.monotonic()
        deadline = min(began + limits.deadline_seconds, self.budget.ends(limits.share))
        source, version = f"tls://{host}:{port}", ""
        try:
            self.budget.check(limits.share)
            if self._handshakes is not None:
                body = self._handshakes(host, port)
            elif self._transport is not None:
                body, version = self._transport.handshake(host.strip("[]"), port, deadline)
            else:
                body = b""
            if not body:
                raise NetworkError(
                    "nothing answers there", hint="check the address", cause=Cause.UNREACHABLE
                )
            self.budget.take(limits.share, f"{host}:{port}", len(body))
            if len(body) > limits.max_bytes:
                raise LimitError("the certificates are too large", cause=Cause.TOO_LARGE)
        except CollectError as error:
            reason = error
        except _FOREIGN_ERRORS as error:
            reason = _explained(error, deadline - began)
        else:
            return Response(status=200, url=source, body=body, headers=(("tls-version", version),))
        raise type(reason)(
            f"{source}: {reason.message}", hint=reason.hint, cause=reason.cause
        ) from reason

    def get(
        self, url: str, *, limits: Limits, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The 2xx answer to a GET. Raises NetworkError, NotFoundError, LimitError."""
        return self.request("GET", url, limits=limits, headers=headers).require_ok()

    def request(  # noqa: PLR0913 - what a request is
        self,
        method: str,
        url: str,
        *,
        limits: Limits,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        fresh: bool = False,
        session: bool = False,
    ) -> Response:
        """The final answer of any status, after redirects (of GET) and retries.

        A `body` is sent as JSON; it must be a query, since it may be sent three times. `fresh` asks
        over a connection of its own, which a load balancer may lead elsewhere; `session` too, and
        notes its exporter. Raises NetworkError, LimitError.
        """
        sent = {**({"Content-Type": "application/json"} if body else {}), **(headers or {})}
        began = self._system.monotonic()
        deadline = min(began + limits.deadline_seconds, self.budget.ends(limits.share))
        try:
            self.budget.check(limits.share)
            target = _target(url)
            sent_by = {"verify_tls": limits.verify_tls, "fresh": fresh, "session": session}
            for _ in range(MAX_REDIRECTS + 1):
                request = self._client.build_request(
                    method,
                    target,
                    headers=sent,
                    content=body,
                    extensions={"deadline": deadline, **sent_by},
                )
                response = self._send(request, limits)
                location = response.header("location")
                if response.status not in REDIRECTS or not location or not limits.follow_redirects:
                    return response
                target = _redirected(request, location)
            raise LimitError(
                f"more than {MAX_REDIRECTS} redirects", hint="ask for the final address yourself"
            )
        except CollectError as error:
            reason = error
        except _FOREIGN_ERRORS as error:
            reason = _explained(error, deadline - began)
        shown = printable(_USER_INFO.sub("", url))
        raise type(reason)(
            f"{shown}: {reason.message}", hint=reason.hint, cause=reason.cause
        ) from reason

    def _send(self, request: httpx.Request, limits: Limits) -> Response:
        for pause in RETRY_PAUSES_SECONDS:
            try:
                response = self._exchange(request, limits)
            except httpcore.ConnectError:
                if not self._slept(pause, request):
                    raise
            else:
                again = limits.retry_statuses and response.status in _RETRIED
                if not (again and self._slept(_asked_pause(response, pause), request)):
                    return response
        return self._exchange(request, limits)

    def _slept(self, seconds: float, request: httpx.Request) -> bool:
        if self._system.monotonic() + seconds >= request.extensions["deadline"]:
            return False
        self._system.sleep(seconds)
        return True

    def _exchange(self, request: httpx.Request, limits: Limits) -> Response:
        if self.shared is None:
            return self._exchanged(request, limits)
        seconds = request.extensions["deadline"] - self._system.monotonic()
        with self.shared.turn(request.url.host, seconds):
            return self._exchanged(request, limits)

    def _exchanged(self, request: httpx.Request, limits: Limits) -> Response:
        response = self._client.send(request, stream=True)
        try:
            return Response(
                status=response.status_code,
                url=str(request.url),
                body=self._body(response, request.url, limits),
                headers=tuple(response.headers.multi_items()),
                peer_certificate=response.extensions["peer_certificate"]
                or self._simulated_peer(request.url, limits),
                exporter=response.extensions.get("exporter", b""),
            )
        finally:
            response.close()

    def _simulated_peer(self, url: httpx.URL, limits: Limits) -> bytes | None:
        """The leaf that a simulated server shows where its certificate is evidence."""
        if self._handshakes is None or limits.verify_tls:
            return None
        pem = self._handshakes(url.host, url.port or _HTTPS).decode("ascii")
        leaf, end, _ = pem.partition(ssl.PEM_FOOTER)
        return ssl.PEM_cert_to_DER_cert(leaf + end) if end else None

    def _body(self, response: httpx.Response, url: httpx.URL, limits: Limits) -> bytes:
        origin = f"{url.host}:{url.port or ''}"
        return _read_body(
            response, limits, lambda count: self.budget.take(limits.share, origin, count)
        )


class _Memory(httpx.BaseTransport):
    """A responder as a transport, so that a world in memory meets the same limits."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._responder(
            request.method, str(request.url), request.headers, request.read()
        )
        return httpx.Response(
            response.status,
            headers=dict(response.headers),
            stream=httpx.ByteStream(response.body),
            extensions={
                "peer_certificate": getattr(response, "peer_certificate", None),
                "exporter": getattr(response, "exporter", b""),
            },
        )


def printable(text: str, limit: int = 300) -> str:
    """Hostile text on one line: spaces folded, controls and bidi marks escaped, cut at `limit`."""
    line = " ".join(text[:limit].split()) + ("…" if len(text) > limit else "")
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in line
    )


# Most requests of a collection go to the same few endpoints.
@functools.lru_cache(maxsize=256)
def _target(url: str) -> httpx.URL:
    return _checked_url(httpx.URL(url))


def _checked_url(url: httpx.URL) -> httpx.URL:
    local = url.scheme == "http" and is_loopback(url.host)
    if not url.host or not (url.scheme == "https" or local):
        raise LimitError("not an https URL", hint="use https; plain http is for localhost alone")
    if url.port is not None and url.port not in range(1, 1 << 16):
        raise httpx.InvalidURL(f"port {url.port}")
    if url.userinfo:
        raise LimitError("the URL holds a user name", hint="give the URL without `user@`")
    return url.copy_with(fragment=None)


def _redirected(request: httpx.Request, location: str) -> httpx.URL:
    origin, target = request.url, request.url.join(location)
    same = (origin.scheme, origin.host, origin.port) == (target.scheme, target.host, target.port)
    if not same or request.method != "GET":
        raise LimitError(
            f"redirected to {printable(str(target))}, which is not followed",
            hint="ask for that address yourself if you trust it",
            cause=Cause.ELSEWHERE,
        )
    return _checked_url(target)


def _asked_pause(response: Response, default: float) -> float:
    """The pause before a retry; infinite when the server asks for too long a one."""
    asked = response.header("retry-after")
    if not (asked.isascii() and asked.isdigit()):
        return default
    longest = len(str(MAX_RETRY_AFTER_SECONDS))
    seconds = int(asked) if len(asked) <= longest else math.inf
    return seconds if seconds <= MAX_RETRY_AFTER_SECONDS else math.inf


def _read_body(response: httpx.Response, limits: Limits, take: Callable[[int], None]) -> bytes:
    headers = response.headers
    encodings = set(headers.get_list("content-encoding", split_commas=True)) - {"", "identity"}
    if encodings:
        raise LimitError(
            f"the answer is compressed: {printable(', '.join(sorted(encodings)))}",
            hint="use a server that honours `Accept-Encoding: identity`",
            cause=Cause.GARBLED,
        )
    too_large = LimitError(
        f"the answer is larger than {limits.max_bytes} bytes",
        hint="no evidence of this kind is that large; check the address",
        cause=Cause.TOO_LARGE,
    )
    if int(headers.get("content-length", "0")) > limits.max_bytes:
        raise too_large
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        take(len(chunk))
        if len(body) > limits.max_bytes:
            raise too_large
    return bytes(body)


def _explained(error: Exception, seconds: float) -> CollectError:
    if isinstance(error, (httpcore.TimeoutException, httpx.TimeoutException)):
        return LimitError(
            f"no complete answer within {max(seconds, 0):.3g} seconds",
            hint="try again, or use another server for the same evidence",
            cause=Cause.TOO_SLOW,
        )
    text = printable(str(error)) or type(error).__name__
    if isinstance(error, httpx.InvalidURL):
        return NetworkError(f"not a URL: {text}", hint="check the address")
    if isinstance(error, httpcore.ConnectError):
        return NetworkError(
            f"cannot connect: {text}",
            hint="check the address, and that the server is up",
            cause=Cause.UNREACHABLE,
        )
    return NetworkError(
        f"the answer broke off or is not HTTP: {text}",
        hint="try again; if it stays so, use another server for the same evidence",
        cause=Cause.GARBLED,
    )


def _status_cause(status: int) -> Cause:
    if status == _TOO_MANY:
        return Cause.THROTTLED
    if status in _DENIALS:
        return Cause.DENIED
    return Cause.FAILING if status in _RETRIED else Cause.OTHER


def _status_hint(status: int) -> str:
    if status in _RETRIED:
        return "the server is overloaded or failing: try again later, or use another one"
    return "check the address, and whether this server asks for permission"
