"""What came beside the judged quote: other quotes and logs of the same boot, and certificates."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec.structs import replace

from tests.worlds.audited import audit
from verifier.checks.application import consistency, proof
from verifier.checks.application.app_certificate import _check_place
from verifier.checks.application.consistency import _other_quotes, _read_runtime_states
from verifier.checks.case import Case
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.import_files import import_files
from verifier.evidence.subject import read_subject
from verifier.evidence.td.event_log import (
    RUNTIME_EVENT_TYPE,
    RUNTIME_IMR,
    SYSTEM_READY,
    Event,
    replay,
    runtime_digest,
)
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import EXT_APP_ID, EXT_USAGE, RaTlsChain
from verifier.lab.knobs import Knobs
from verifier.lab.world import build
from verifier.model.result import EvidenceRef, Status

USER_DATA: Final = 28
"""Where the user data of a quote's header begins."""

BOOT: Final = ("app-id", "compose-hash", SYSTEM_READY)
MEASURED: Final = (*BOOT, "a request", "another")


def log(*names: str) -> tuple[Event, ...]:
    return tuple(Event(RUNTIME_IMR, RUNTIME_EVENT_TYPE, None, name, b"") for name in names)


def state(events: tuple[Event, ...]) -> bytes:
    return replay([runtime_digest(item) for item in events])


def accepted(*others: tuple[Event, ...]) -> set[bytes]:
    """The values of RTMR3 that are taken as the measured boot's own, beside other logs of it."""
    sources = [SimpleNamespace(has_log=True, events=lambda given=given: given) for given in others]
    case = SimpleNamespace(
        events=log(*MEASURED),
        quote=SimpleNamespace(rtmrs=(b"", b"", b"", state(log(*MEASURED)))),
        evidence=SimpleNamespace(quotes=sources, tcb_infos=[]),
        presented=None,
    )
    return set(_read_runtime_states(cast("Case", case)))


@pytest.mark.parametrize("length", range(len(MEASURED) + 1))
def test_a_log_of_the_same_boot_counts_from_system_ready_on(length: int) -> None:
    other = log(*MEASURED[:length])
    counts = length >= len(BOOT)
    assert accepted(other) == {state(log(*MEASURED)), *([state(other)] if counts else [])}


def test_a_longer_log_of_the_same_boot_counts() -> None:
    later = log(*MEASURED, "a third")
    assert accepted(later) == {state(log(*MEASURED)), state(later)}


def test_a_log_of_another_boot_does_not() -> None:
    other = log("app-id", "another hash", SYSTEM_READY)
    assert accepted(other) == {state(log(*MEASURED))}


def test_a_log_with_an_entry_that_is_no_event_of_dstack_does_not() -> None:
    foreign = replace(log("boot")[0], event_type=5, digest=bytes(48))
    assert accepted((*log(*MEASURED), foreign)) == {state(log(*MEASURED))}


@cache
def honest_quote() -> bytes:
    return build().guest.quote(bytes(64))


def contradictions(
    monkeypatch: pytest.MonkeyPatch, *others: bytes, states: tuple[bytes, ...] = ()
) -> list[str]:
    """What other quotes of the same attester sign otherwise, whose boot had these values of RTMR3
    beside that of the judged one."""
    sources = [
        SimpleNamespace(quote=raw, channel="another channel", evidence=EvidenceRef(""))
        for raw in others
    ]
    quote = parse_quote(honest_quote(), "quote")
    case = SimpleNamespace(
        quote=quote, presented=None, evidence=SimpleNamespace(quotes=sources, proofs=[])
    )
    monkeypatch.setattr(proof, "set_aside", lambda _case: [])
    monkeypatch.setattr(consistency, "_runtime_states", lambda _case: (quote.rtmrs[3], *states))
    return [name for name, *_ in _other_quotes(cast("Case", case))]


def test_another_quote_of_the_same_td_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    assert contradictions(monkeypatch, build().guest.quote(b"\1" * 64)) == []


def test_one_of_another_device_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = bytearray(honest_quote())
    raw[USER_DATA] ^= 1
    assert contradictions(monkeypatch, bytes(raw)) == ["td_report"]


REGISTERS: Final = {"mrtd": 184, "rtmr0": 376, "rtmr1": 424, "rtmr2": 472, "rtmr3": 520}
"""Where in a quote of version 4 each register stands."""


@pytest.mark.parametrize("name", REGISTERS)
def test_one_whose_register_differs_does_not(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """RTMR3 alone grows during a boot, and other registers may by chance hold one of its values."""
    raw = bytearray(honest_quote())
    raw[REGISTERS[name]] ^= 1
    value = bytes(raw[REGISTERS[name] : REGISTERS[name] + 48])
    of_boot = ["td_report"] if name != "rtmr3" else []
    assert contradictions(monkeypatch, bytes(raw)) == [name, *of_boot]
    beside = [name, *of_boot] if name != "rtmr3" else []
    assert contradictions(monkeypatch, bytes(raw), states=(value,)) == beside


def test_one_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert contradictions(monkeypatch, honest_quote()[:300]) == ["quote"]


@pytest.mark.parametrize(
    ("config", "status"),
    [(None, Status.PASS), ('{"os_image_hash": "00"}', Status.WARN)],
    ids=["its own", "another"],
)
def test_an_image_that_is_named_beside_the_quote_is_compared(
    config: str | None, status: Status
) -> None:
    """Whoever hands over nothing else states this alone."""
    honest = audit(Knobs())
    answer = honest.world.guest.get_quote(bytes(64))
    shown = answer if config is None else {**answer, "vm_config": config}
    bundle = import_files([("answer.json", json.dumps(shown).encode())], collected_at=1)
    case = Case(read_subject(bundle, bundle.subjects[0]), honest.question, Exchanges(bundle))
    assert consistency.consistency.run(case).status is status


@cache
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(path_length: int | None, *, is_ca: bool = True) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "any")])
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder(name, name, key().public_key(), 1, begun, begun + timedelta(1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
        .sign(key(), SHA256())
    )


@pytest.mark.parametrize(
    ("path_length", "place", "allowed"),
    [(None, 3, True), (0, 1, True), (0, 2, False), (1, 2, True), (1, 3, False), (2, 3, True)],
)
def test_no_chain_is_longer_than_one_of_its_cas_allows(
    path_length: int | None,
    place: int,
    allowed: bool,  # noqa: FBT001 - a column of the table
) -> None:
    own: Any = {EXT_APP_ID: b"app", EXT_USAGE: b"app:ca"}
    chain = SimpleNamespace(
        certificates=[certificate(path_length)] * (place + 1), extensions=[own] * (place + 1)
    )
    case = SimpleNamespace(identity=SimpleNamespace(app_id=b"app"))
    found = _check_place(cast("Case", case), cast("RaTlsChain", chain), place)
    assert found == ([] if allowed else ["the chain is longer than a CA allows"])


@pytest.mark.parametrize("seen", [{"app_compose": "{}"}, {"tcb_info": "{}"}, {}], ids=str)
def test_an_info_that_shows_anything_measured_names_its_key_provider(
    monkeypatch: pytest.MonkeyPatch, seen: dict[str, str]
) -> None:
    stated = dict.fromkeys(("app_id", "compose_hash", "device_id", "mr_aggregated"), "")
    value = SimpleNamespace(**{"stated": stated, "app_compose": "", "tcb_info": "", **seen})
    evidence = SimpleNamespace(tcb_infos=(), infos=[SimpleNamespace(value=value)], pages=())
    case: Any = SimpleNamespace(evidence=evidence, identity=SimpleNamespace(instance_id=None))
    monkeypatch.setattr(consistency, "_unnamed_image", lambda *_: ())
    lacking = ["Info has no key_provider_info"] if seen else []
    assert [*consistency._withheld(case)] == lacking  # noqa: SLF001
