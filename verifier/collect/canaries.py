"""One harmless question for every source of evidence, all asked side by side.

What is asked is what an audit asks first of such a source, about an app that does not exist where
it has to be about one. An answer is good when it has the form that an audit would go on with.
"""

from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from verifier.collect.explorer import logs_url
from verifier.collect.http import HttpClient, Response
from verifier.collect.image_download import PUBLISHED
from verifier.collect.limits import LIMITS
from verifier.collect.requests import (
    CLOUD_URL,
    DNS_URL,
    Request,
    cloud_request,
    dns_requests,
    guest_url,
    kms_requests,
    pcs_requests,
    rpc_requests,
)
from verifier.collect.workers import Workers
from verifier.errors import Cause, CollectError, EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Kind
from verifier.evidence.chain.explorer_logs import entries
from verifier.evidence.chain.log_scan import LogFilter
from verifier.evidence.dns_message import parse_answer
from verifier.evidence.guest.kms_answers import parse_meta
from verifier.evidence.images.sigstore import GITHUB_API
from verifier.evidence.sources import Purpose, Sounding
from verifier.evidence.td.collateral import parse_crl
from verifier.reference.values import EXPLORER, KmsRecord, ReferenceValues

_NOBODYS_APP: Final = "00" * 20
_NOBODYS_ADDRESS: Final = f"0x{'00' * 19}01"
_REGISTRIES: Final = ("https://registry-1.docker.io/v2/", "https://ghcr.io/v2/")
_PLATFORM: Final = ("90C06F000000", "platform")
"""An FMSPC that Intel's service knows."""

_NAME: Final = "example.com"
_RECORD: Final = "CAA"
_OK: Final = 200
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_FAILING: Final = 500

Judge = Callable[[Response], str]
"""What is wrong with an answer, "" for a good one. Raises EvidenceError for one that cannot be
read."""


class Canary(Struct, frozen=True, kw_only=True):
    """One question.

    purpose   what its source is asked for
    request   what is asked
    judge     what is wrong with the answer
    operator  who runs the source; "" where only its host is known
    group     what the operator is one of several for, such as a chain; "" for nothing
    closes    whether a connection that is closed after the TLS handshake is an answer, too
    """

    purpose: Purpose
    request: Request
    judge: Judge
    operator: str = ""
    group: str = ""
    closes: bool = False


def canaries(reference: ReferenceValues) -> tuple[Canary, ...]:
    """A question for each source that the reference values name, and for those that any audit may
    ask."""
    return tuple(
        item
        for source in (_collateral, _gateways, _kms, _chains, _reserves, _safes, _images, _hints)
        for item in source(reference)
    )


def sound(client: HttpClient, wanted: tuple[Canary, ...], timeout: float) -> tuple[Sounding, ...]:
    """What came of each question, in their order; none takes more than `timeout` seconds."""
    workers = Workers(max(len(wanted), 1))
    return tuple(
        future.result()
        for future in [workers.submit(_ask, client, item, timeout) for item in wanted]
    )


def _ask(client: HttpClient, canary: Canary, timeout: float) -> Sounding:
    request = canary.request
    limits = replace(LIMITS[request.kind], deadline_seconds=timeout, retry_statuses=False)
    said, cause = "", Cause.OTHER
    try:
        response = client.request(
            "POST" if request.body else "GET",
            request.url,
            limits=limits,
            body=request.body.encode("ascii"),
        )
        said = canary.judge(response)
    except CollectError as error:
        cause = error.cause
        if not (canary.closes and cause is Cause.GARBLED):
            said = error.message.removeprefix(f"{request.url}: ")
    except EvidenceError as error:
        said = f"not what it should answer: {error.message}"
    place = urlsplit(request.url).netloc
    return Sounding(
        purpose=canary.purpose,
        place=place,
        operator=canary.operator or place,
        group=canary.group,
        said=said,
        cause=cause,
    )


def _collateral(reference: ReferenceValues) -> Iterator[Canary]:
    for request in pcs_requests(reference.pcs_url, _PLATFORM):
        if request.kind in (Kind.PCS_TCB_INFO, Kind.PCS_ROOT_CA_CRL):
            json = request.kind is Kind.PCS_TCB_INFO
            yield Canary(
                purpose=Purpose.COLLATERAL, request=request, judge=_is_json if json else _is_list
            )


def _gateways(reference: ReferenceValues) -> Iterator[Canary]:
    for row in reference.gateways:
        url = f"{guest_url(_NOBODYS_APP, row.url)}/"
        yield Canary(
            purpose=Purpose.GUESTS,
            request=Request(kind=Kind.PAGE, url=url),
            judge=lambda _: "",
            operator=row.operator,
            closes=True,
        )


def _kms(reference: ReferenceValues) -> Iterator[Canary]:
    for record in reference.kms:
        for url in record.urls:
            meta, _ = kms_requests(url, bytes(20), "")
            yield Canary(purpose=Purpose.KMS, request=meta, judge=_is_kms(record))


def _chains(reference: ReferenceValues) -> Iterator[Canary]:
    for row in reference.rpc:
        (request,) = rpc_requests(row.url, [("eth_chainId", [])])
        yield Canary(
            purpose=Purpose.CHAIN,
            request=request,
            judge=_is_chain(row.chain_id),
            operator=row.operator,
            group=f"chain {row.chain_id}",
        )


def _safes(reference: ReferenceValues) -> Iterator[Canary]:
    for row in reference.safe_services:
        request = Request(kind=Kind.SAFE_QUEUE, url=f"{row.url}/api/v1/about/")
        yield Canary(purpose=Purpose.SAFES, request=request, judge=_is_json, operator=row.operator)


def _reserves(reference: ReferenceValues) -> Iterator[Canary]:
    """Endpoints tell their chain; explorers are asked for the logs of an address that has none."""
    for row in reference.reserves:
        (request,) = rpc_requests(row.url, [("eth_chainId", [])])
        judge = _is_chain(row.chain_id)
        if row.kind == EXPLORER:
            nothing = LogFilter(chain_id=row.chain_id, address=_NOBODYS_ADDRESS)
            url = logs_url(row.url, nothing, "", (1, 1))
            request, judge = Request(kind=Kind.EXPLORER_LOGS, url=url), _is_logs
        yield Canary(
            purpose=Purpose.LOGS,
            request=request,
            judge=judge,
            operator=row.operator,
            group=f"chain {row.chain_id}",
        )


def _images(_: ReferenceValues) -> Iterator[Canary]:
    for url in _REGISTRIES:
        request = Request(kind=Kind.OCI_MANIFEST, url=url)
        yield Canary(purpose=Purpose.IMAGES, request=request, judge=_has(_OK, _UNAUTHORIZED))
    limit = Request(kind=Kind.SIGSTORE_BUNDLE, url=f"{GITHUB_API}/rate_limit")
    yield Canary(purpose=Purpose.IMAGES, request=limit, judge=_is_json)
    releases = Request(kind=Kind.PAGE, url=f"{PUBLISHED}/")
    yield Canary(purpose=Purpose.RELEASES, request=releases, judge=_is_up)


def _hints(_: ReferenceValues) -> Iterator[Canary]:
    names = Request(kind=Kind.DNS_TXT, url=f"{DNS_URL}{_NAME}")
    yield Canary(purpose=Purpose.HINTS, request=names, judge=_is_json)
    for request in dns_requests(_NAME, _RECORD):
        yield Canary(purpose=Purpose.ENDPOINT, request=request, judge=_is_dns)
    account = cloud_request(CLOUD_URL, _NOBODYS_APP)
    yield Canary(purpose=Purpose.HINTS, request=account, judge=_has(_OK, _NOT_FOUND))


def _has(*statuses: int) -> Judge:
    return lambda response: "" if response.status in statuses else f"status {response.status}"


def _is_up(response: Response) -> str:
    return "" if response.status < _FAILING else f"status {response.status}"


def _is_json(response: Response) -> str:
    said = _has(_OK)(response)
    if not said:
        codec.parse_json_object(response.body, "its answer")
    return said


def _is_list(response: Response) -> str:
    said = _has(_OK)(response)
    if not said:
        parse_crl(response.body, "its answer")
    return said


def _is_dns(response: Response) -> str:
    said = _has(_OK)(response)
    if not said:
        parse_answer(response.body, _NAME, _RECORD, "its answer")
    return said


def _is_kms(record: KmsRecord) -> Judge:
    def judge(response: Response) -> str:
        said = _has(_OK)(response)
        if said:
            return said
        key = parse_meta(response.body, "its answer").k256_pubkey.hex()
        return "" if record.k256 in ("", key) else "another KMS answers than the one that is known"

    return judge


def _is_logs(response: Response) -> str:
    said = _has(_OK)(response)
    if not said:
        entries(response.body, "its answer")
    return said


def _is_chain(chain_id: int) -> Judge:
    def judge(response: Response) -> str:
        said = _has(_OK)(response)
        if said:
            return said
        found = codec.parse_json_object(response.body, "its answer").get("result")
        return "" if found == hex(chain_id) else f"it says that it is chain {ascii(found)[:24]}"

    return judge
