"""Which of the quotes over a gateway's key is judged, and which gateway a KMS's contract names."""

import json
from typing import Final, cast

import pytest

from tests.worlds.audited import Audited, audit
from verifier.checks.case import Case
from verifier.checks.endpoint import gateway
from verifier.checks.endpoint.gateway import GatewayKey, _chosen, gateway_to_collect
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.bundle import Artifact, Kind
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.endpoint import parse_endpoint
from verifier.evidence.subject import PresentedQuote, read_subject
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import BY_GATEWAY, PASSED_THROUGH
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms
from verifier.lab.gateway import GATEWAY_APP
from verifier.lab.knobs import Knobs
from verifier.lab.rpc import RpcFault
from verifier.lab.world import DOMAIN
from verifier.model.result import CheckResult, EvidenceRef, SkipKind, Status

TLS: Final = "endpoint.tls"


def key(**results: Status) -> GatewayKey:
    """A quote over the key, by what comes of the checks of its guest."""
    named = (
        CheckResult(id=name.replace("_", "."), title="", status=status, summary=name, reason="")
        for name, status in results.items()
    )
    return GatewayKey("", EvidenceRef(""), tuple(named))


GOOD: Final = key(hardware_quote=Status.PASS, authorization_allowed=Status.WARN)
FALSE: Final = key(hardware_quote=Status.FAIL, authorization_allowed=Status.PASS)
DISALLOWED: Final = key(hardware_quote=Status.PASS, authorization_allowed=Status.FAIL)
UNPROVEN: Final = key(hardware_quote=Status.PASS, authorization_allowed=Status.SKIP)
LACKING: Final = MissingEvidence("no log came with it")


def chosen(
    monkeypatch: pytest.MonkeyPatch, *given: GatewayKey | MissingEvidence | None
) -> GatewayKey | None:
    """What comes of several quotes over one key."""

    def judge(_case: Case, source: PresentedQuote, _report_data: bytes) -> GatewayKey | None:
        found = given[source.quote[0]]
        if isinstance(found, MissingEvidence):
            raise found
        return found

    monkeypatch.setattr(gateway, "_judged", judge)
    sources = [
        PresentedQuote(channel="", quote=bytes([place]), evidence=EvidenceRef(""))
        for place in range(len(given))
    ]
    return _chosen(cast("Case", None), sources, b"")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((GOOD,), GOOD),
        ((UNPROVEN,), UNPROVEN),
        ((GOOD, FALSE), FALSE),
        ((LACKING, FALSE), FALSE),
        ((DISALLOWED, FALSE), FALSE),
        ((UNPROVEN, DISALLOWED), DISALLOWED),
        ((LACKING, DISALLOWED), DISALLOWED),
        ((GOOD, None), None),
    ],
)
def test_what_is_worst_of_several_quotes_counts(
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[GatewayKey | MissingEvidence | None, ...],
    expected: GatewayKey | None,
) -> None:
    for order in (given, given[::-1]):
        assert chosen(monkeypatch, *order) == expected


@pytest.mark.parametrize("other", [DISALLOWED, UNPROVEN, LACKING])
def test_what_may_have_held_on_its_day_is_a_doubt_beside_one_that_holds(
    monkeypatch: pytest.MonkeyPatch, other: GatewayKey | MissingEvidence
) -> None:
    for order in ((other, GOOD), (GOOD, other)):
        found = chosen(monkeypatch, *order)
        assert found is not None
        assert (found.results, len(found.doubts)) == (GOOD.results, 1)


@pytest.mark.parametrize("given", [(LACKING,), (LACKING, UNPROVEN), (UNPROVEN, LACKING)])
def test_what_is_lacking_of_one_is_missing_of_all(
    monkeypatch: pytest.MonkeyPatch, given: tuple[GatewayKey | MissingEvidence, ...]
) -> None:
    with pytest.raises(MissingEvidence, match="no log came"):
        chosen(monkeypatch, *given)


def naming(text: str) -> Audited:
    """A world whose KMS names its gateway by this text."""

    def edit(chain: Chain, _app: DstackApp, kms: DstackKms) -> None:
        kms.set_gateway_app_id(forge.days_ago(chain, 1), text)

    return audit(Knobs(edit_chain=edit), endpoint=BY_GATEWAY)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (GATEWAY_APP.hex(), Status.WARN, "in an attested TD"),
        (f"{'07' * 20},{GATEWAY_APP.hex()}", Status.WARN, "in an attested TD"),
        ("07" * 20, Status.SKIP, "is no gateway that the KMS's contract names"),
        ("any", Status.SKIP, "lets any gateway carry the app's traffic"),
        ("", Status.ERROR, "names no gateway"),
    ],
    ids=["it", "it and another", "another", "any", "none"],
)
def test_a_contract_names_the_gateway(text: str, status: Status, words: str) -> None:
    (result,) = naming(text).check(TLS)
    assert (result.status, words in result.summary) == (status, True)


@pytest.fixture(scope="module")
def by_gateway() -> Audited:
    return audit(Knobs(), endpoint=BY_GATEWAY)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        (Knobs(kms="hosted"), "no contract names the gateway"),
        (Knobs(rpc_faults={"b": RpcFault.ERROR}), "one operator alone says which gateway"),
    ],
    ids=["no contract", "one operator"],
)
def test_who_has_to_name_the_gateway(knobs: Knobs, words: str) -> None:
    (result,) = audit(knobs, endpoint=BY_GATEWAY).check(TLS)
    assert (result.skip_kind, words in result.summary) == (SkipKind.MISSING_EVIDENCE, True)


def case_of(audited: Audited) -> Case:
    subject = read_subject(audited.bundle, audited.bundle.subjects[0])
    return Case(subject, audited.question, Exchanges(audited.bundle))


def showing(audited: Audited, keys: object) -> Audited:
    """The same where the gateway shows these keys."""

    def edit(item: Artifact, raw: bytes) -> bytes:
        if item.kind is not Kind.GATEWAY_ACME:
            return raw
        return json.dumps({**json.loads(raw), "quoted_hist_keys": keys}).encode()

    return audited.editing(edit)


@pytest.mark.parametrize("address", [PASSED_THROUGH, DOMAIN, ""])
def test_nothing_is_asked_of_a_gateway_that_ends_no_connection(
    by_gateway: Audited, address: str
) -> None:
    named = parse_endpoint(address.replace("APP", by_gateway.world.app_id))
    assert gateway_to_collect(case_of(by_gateway.again(endpoint=named))) is None


def test_what_cannot_be_read_of_its_keys_is_no_absence(by_gateway: Audited) -> None:
    assert gateway_to_collect(case_of(by_gateway)) is not None
    silent = showing(by_gateway, [])
    assert silent.check(TLS)[0].skip_kind is SkipKind.MISSING_EVIDENCE
    assert gateway_to_collect(case_of(silent)) is None
    spoilt = showing(by_gateway, "no list")
    assert spoilt.check(TLS)[0].status is Status.ERROR
    with pytest.raises(EvidenceError, match="quoted_hist_keys"):
        gateway_to_collect(case_of(spoilt))
