"""The way to a server: names, addresses, TLS and one deadline for everything.

The owner of a host name controls what it resolves to, and can answer differently each time.
So the auditor resolves a name itself, refuses addresses that are not public unless the user named
them, and connects to the very address that it checked.

Which addresses are public follows the IANA special-purpose address registries (RFC 6890):

    IPv4   everything except the registry's blocks, multicast and 240.0.0.0/4
    IPv6   2000::/3 without 2001::/23 (Teredo, ORCHID), 2002::/16 (6to4) and documentation;
           an IPv4-mapped or NAT64 (RFC 6052, 64:ff9b::/96) address is what it carries

`localhost` and names under `.localhost` are 127.0.0.1 without asking anyone (RFC 6761, 6.3).
"""

import functools
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Final

import certifi
import httpcore
import httpx
from msgspec import Struct

from verifier.collect.connections import Connections
from verifier.collect.exporter import KeyLog
from verifier.errors import Cause, CollectError, LimitError, NetworkError

KEEPALIVE_SECONDS: Final = 5.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_TLS: Final = "https://"
_DER: Final = True  # ssl's binary_form
_ENCODING_DER: Final = 2  # of ssl's certificate objects
_GLOBAL_IPV6: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_SPECIAL: Final = _networks(
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
# Private networks. A user who names a host may mean an address here, but never the link-local
# address of a cloud's metadata service: that one has to be named as an address.
_OWN: Final = _networks(
    *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *("::1/128", "fc00::/7"),
)


@functools.cache
def web_trust() -> ssl.SSLContext:
    """TLS as browsers use it: certifi's roots, host names checked, TLS 1.2 or later."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    return context


def resolve(host: str) -> list[str]:
    """The addresses that the system's resolver gives for a host name. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class System(Struct, frozen=True, kw_only=True):
    """What the client takes from the machine that it runs on.

    `monotonic` and `sleep` are in seconds; `resolve` gives the addresses of a host name as text;
    `trust` is the TLS context for servers whose certificate must verify.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    resolve: Callable[[str], Sequence[str]] = resolve
    trust: Callable[[], ssl.SSLContext] = web_trust


def is_public(address: Address) -> bool:
    """Whether an address is an ordinary one of the public internet (see the module's text)."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(address.packed[12:]))
        if address not in _GLOBAL_IPV6:
            return False
    return not any(address in network for network in _SPECIAL)


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine: `localhost`, `*.localhost`, 127.0.0.0/8 or ::1."""
    address = parse_address(host)
    return _is_localhost(host) if address is None else address.is_loopback


def parse_address(text: str) -> Address | None:
    """The address that `text` spells (an IPv4-mapped one as the IPv4 address), or None."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def matching_host(host: str, patterns: Iterable[str]) -> str | None:
    """The closest pattern for a host: the name itself, else the longest `.suffix`; or None."""
    found = [item for item in patterns if item == host or _is_under(host, item)]
    return max(found, key=len, default=None)


class Transport(httpx.BaseTransport):
    """httpx over connections that this module opens. Safe to use from several threads.

    `allow_hosts` holds what the user named: host names, `.suffixes` and addresses. `routes` sends
    a logical host (a name or `.suffix`) to a loopback (address, port) over plain HTTP, or with
    `https://` before its name over TLS; the Host header stays the logical one. A request carries
    four extensions: `deadline`, on the system's monotonic clock, `verify_tls`, `fresh`, which asks
    for a connection of its own, and `session`, which asks for one whose exporter is noted, and of
    which nothing is verified. A response carries `peer_certificate`, DER or None, and `exporter`
    where that was asked for.
    Raises LimitError for a refused address, NetworkError, and httpcore's exceptions.
    """

    def __init__(
        self,
        *,
        allow_hosts: Collection[str] = (),
        routes: Mapping[str, tuple[str, int]] | None = None,
        system: System,
    ) -> None:
        self._routes = {host.lower(): route for host, route in (routes or {}).items()}
        for host, (address, _) in self._routes.items():
            if not is_loopback(address):
                raise CollectError(
                    f"route for {host}: {address} is not a loopback address",
                    hint="plain HTTP stays on this machine: serve the simulated world on 127.0.0.1",
                )
        guard = _Guard(allow_hosts, system).addresses
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        guarded, routed = _Backend(guard, system), _Backend(lambda address, _: [address], system)
        self._unchecked, self._direct, self._routed = unverified, guarded, routed
        self._makers = {
            _Peer.VERIFIED: functools.partial(_connections, system.trust(), guarded),
            _Peer.UNVERIFIED: functools.partial(_connections, unverified, guarded),
            _Peer.ROUTED: functools.partial(_connections, unverified, routed),
        }
        self._connections: dict[tuple[_Peer, bytes, bytes, int | None], Connections] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the response's body is still on its way."""
        if request.extensions["session"]:
            with KeyLog() as log:
                answer = self._sent(request, log)
                answer.extensions["exporter"] = log.exporter
                return answer
        return self._sent(request, None)

    def _sent(self, request: httpx.Request, log: KeyLog | None) -> httpx.Response:
        url, connections, own = self._target(request, log)
        deadline: float = request.extensions["deadline"]
        asked = httpcore.Request(
            method=request.method,
            url=url,
            headers=request.headers.raw,
            content=request.read(),
            extensions={"timeout": dict.fromkeys(("connect", "read", "write"), deadline)},
        )
        connection = connections.take()
        ended = connections.close if own else functools.partial(connections.give, connection)
        try:
            answer = connection.handle_request(asked)
        except BaseException:
            ended()
            raise
        stream: httpcore.NetworkStream = answer.extensions["network_stream"]
        tls = stream.get_extra_info("ssl_object")
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, ended),
            extensions={"peer_certificate": None if tls is None else tls.getpeercert(_DER)},
        )

    def handshake(self, host: str, port: int, deadline: float) -> tuple[bytes, str]:
        """The certificates (PEM, the leaf first) that a TLS server sends when it is asked for
        `host`, and the protocol version. The server has to hold the leaf's key; nothing else about
        them is verified. Raises LimitError, NetworkError, and httpcore's exceptions."""
        stream: httpcore.NetworkStream = self._direct.connect_tcp(host, port, timeout=deadline)
        try:
            stream = stream.start_tls(self._unchecked, host, timeout=deadline)
            return _sent_chain(stream.get_extra_info("ssl_object"))
        finally:
            stream.close()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for connections in self._connections.values():
                connections.close()

    def _target(
        self, request: httpx.Request, log: KeyLog | None
    ) -> tuple[httpcore.URL, Connections, bool]:
        """What is asked, over which connections, and whether these are the request's own."""
        url = request.url
        scheme, host, port = url.raw_scheme, url.raw_host, url.port
        peer = _Peer.VERIFIED if request.extensions["verify_tls"] else _Peer.UNVERIFIED
        with_tls = f"{_TLS}{url.host}"
        logical = with_tls if with_tls in self._routes else matching_host(url.host, self._routes)
        if logical is not None:
            address, port = self._routes[logical]
            scheme = b"https" if logical == with_tls else b"http"
            host, peer = address.encode("ascii"), _Peer.ROUTED
        key = (peer, scheme, host, port)
        target = httpcore.URL(scheme=scheme, host=host, port=port, target=url.raw_path)
        if log is not None:
            backend = self._routed if peer is _Peer.ROUTED else self._direct
            return target, _connections(log.context, backend, target.origin), True
        made = self._makers[peer](target.origin)
        if request.extensions["fresh"]:
            return target, made, True
        with self._lock:
            return target, self._connections.setdefault(key, made), False


class _Peer(Enum):
    """How the other side of a connection is known."""

    VERIFIED = auto()
    UNVERIFIED = auto()
    ROUTED = auto()


class _Body(httpx.SyncByteStream):
    """A response body on its way; `ended` is told when it was read or is given up."""

    def __init__(self, answer: httpcore.Response, ended: Callable[[], None]) -> None:
        self._answer = answer
        self._ended = ended

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()
        self._ended()


class _Guard:
    """Turns a host name into addresses that may be connected to."""

    def __init__(self, allow_hosts: Collection[str], system: System) -> None:
        self._names = {item.lower().strip("[]") for item in allow_hosts}
        self._addresses = {parse_address(item) for item in self._names} - {None}
        self._system = system

    def addresses(self, host: str, deadline: float) -> Sequence[str]:
        """The addresses of a host, all of them permitted. Raises LimitError, NetworkError."""
        if parse_address(host) is not None:
            found: Sequence[str] = [host]
        elif _is_localhost(host):
            found = ["127.0.0.1"]
        else:
            found = self._resolve(host, deadline)
        named = matching_host(host, self._names) is not None
        refused = next((item for item in found if not self._permits(item, named=named)), None)
        if refused is not None:
            raise LimitError(
                f"{host} is at {refused}, which is not a public address",
                hint="if that is your own server, name its host or address yourself",
                cause=Cause.NOT_PUBLIC,
            )
        return found

    def _permits(self, text: str, *, named: bool) -> bool:
        address = parse_address(text)
        if address is None:
            return False
        if is_public(address) or address in self._addresses:
            return True
        return named and any(address in network for network in _OWN)

    def _resolve(self, host: str, deadline: float) -> Sequence[str]:
        # The system's resolver knows no timeout, so it is asked in a thread that can be left.
        answers: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._system.resolve(host))
            except (OSError, ValueError) as error:
                answers.put(error)

        threading.Thread(target=ask, daemon=True).start()
        try:
            answer = answers.get(timeout=max(deadline - self._system.monotonic(), 0))
        except queue.Empty as error:
            raise httpcore.ConnectTimeout(f"no address for {host} in time") from error
        if isinstance(answer, socket.gaierror) and answer.errno == socket.EAI_AGAIN:
            raise httpcore.ConnectError(f"the resolver has no answer for {host} now")
        if isinstance(answer, Exception) or not answer:
            raise NetworkError(
                f"the host name {host} does not resolve",
                hint="check its spelling, and that this machine can resolve names",
                cause=Cause.NO_ADDRESS,
            )
        return answer


class _Backend(httpcore.NetworkBackend):
    """Opens connections. Every `timeout` here is a deadline on the monotonic clock.

    httpcore hands the timeouts of a request down as they are and starts each one anew for every
    read, which lets a slow server drip without end; a deadline is the same for all of them.
    """

    def __init__(self, addresses_of: Callable[[str, float], Sequence[str]], system: System) -> None:
        self._addresses_of = addresses_of
        self._monotonic = system.monotonic
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - part of httpcore's interface
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address that accepts one."""
        deadline = _given(timeout)
        addresses = self._addresses_of(host, deadline)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for index, address in enumerate(addresses):
            share = self._remaining(deadline) / (len(addresses) - index)
            try:
                stream = self._tcp.connect_tcp(
                    address, port, timeout=share, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._remaining)
        raise failure

    def _remaining(self, deadline: float) -> float:
        seconds = deadline - self._monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout("deadline passed")
        return seconds


class _Stream(httpcore.NetworkStream):
    """A connection whose timeouts are deadlines.

    A server may close an idle connection at the very moment when it is used again. That request
    was not answered, so it counts as a connection that could not be made (RFC 9112, 9.3.1).
    """

    def __init__(self, stream: httpcore.NetworkStream, remaining: Callable[[float], float]) -> None:
        self._stream = stream
        self._remaining = remaining
        self._used = False
        self._awaits_answer = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        reused = self._used and self._awaits_answer
        try:
            received = self._stream.read(max_bytes, self._remaining(_given(timeout)))
        except httpcore.ReadError as error:
            if reused:
                raise httpcore.ConnectError("the server closed an idle connection") from error
            raise
        if reused and not received:
            raise httpcore.ConnectError("the server closed an idle connection")
        self._used, self._awaits_answer = True, False
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._awaits_answer = True
        self._stream.write(buffer, self._remaining(_given(timeout)))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        seconds = self._remaining(_given(timeout))
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, seconds)
        except httpcore.ConnectError as error:
            if not isinstance(error.__cause__, ssl.SSLError):
                raise
            if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise NetworkError(
                    f"no TLS there: {error.__cause__.reason or error.__cause__}",
                    hint="check the port: the server answers without TLS, or not as browsers ask",
                    cause=Cause.NO_TLS,
                ) from error
            raise NetworkError(
                f"the TLS certificate is not trusted: {error.__cause__.verify_message}",
                hint="check the host name, this machine's clock, and who intercepts its TLS",
                cause=Cause.UNTRUSTED,
            ) from error
        return _Stream(stream, self._remaining)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's interface
        return self._stream.get_extra_info(info)


def _sent_chain(tls: ssl.SSLSocket) -> tuple[bytes, str]:
    """The chain as the server sent it (PEM) and the version of TLS. Before Python 3.13 only the
    object below knows more than the leaf."""
    below: Any = tls if hasattr(tls, "get_unverified_chain") else getattr(tls, "_sslobj", None)
    listed = below.get_unverified_chain() if below is not None else None
    chain = [x if isinstance(x, bytes) else x.public_bytes(_ENCODING_DER) for x in listed or ()]
    leaf = tls.getpeercert(_DER)
    if leaf is None or (chain and chain[0] != leaf):
        raise NetworkError("the server sent no certificate", cause=Cause.NO_TLS)
    pem = "".join(ssl.DER_cert_to_PEM_cert(item) for item in chain or [leaf])
    return pem.encode("ascii"), tls.version() or ""


def _connections(tls: ssl.SSLContext, backend: _Backend, origin: httpcore.Origin) -> Connections:
    return Connections(
        functools.partial(
            httpcore.HTTPConnection,
            origin,
            ssl_context=tls,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=backend,
        )
    )


def _given(deadline: float | None) -> float:
    if deadline is None:
        raise httpcore.ReadTimeout("a request without a deadline")
    return deadline


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _is_under(host: str, suffix: str) -> bool:
    return suffix.startswith(".") and host.endswith(suffix)
