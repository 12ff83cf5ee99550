"""What is shown once costs its price once, however many attesters and answers stand beside it."""

import json
import time
import tracemalloc
from collections.abc import Callable
from functools import cache
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import RefusedError
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.codec import parse_json
from verifier.evidence.readings import Readings
from verifier.evidence.subject import read_subject
from verifier.lab.knobs import Knobs

BYTES: Final = 1_200_000
SUBJECTS: Final = 12
COPIES: Final = 6
FACTOR: Final = 5
"""How much dearer many attesters, or many answers, may be than one."""


@cache
def alone() -> Audited:
    """An app without a KMS."""
    return audit(Knobs(key_provider="none"))


@cache
def long_document() -> bytes:
    """A tcb_info of some size, which the attesters share."""
    entry = {"imr": 0, "x": list(range(2000))}
    log = [entry] * (BYTES // len(json.dumps(entry)))
    return json.dumps({"mrtd": "00", "rtmr3": "00", "event_log": log}).encode()


def of_subjects(number: int) -> Bundle:
    """One quote, its collateral and a long document that all of them share; of each attester
    alone, one byte."""
    audited = alone()
    now = audited.world.now
    (answer,) = audited.bundle.of(Kind.APP_KEY_QUOTE)[:1]
    quote = bytes.fromhex(json.loads(audited.bundle.blob(answer))["quote"])
    collateral = json.dumps(audited.world.collateral.document()).encode()
    builder = BundleBuilder()
    for kind, raw in (
        (Kind.TCB_INFO, long_document()),
        (Kind.QUOTE, quote),
        (Kind.COLLATERAL, collateral),
    ):
        builder.add(kind, raw, source=kind.value, collected_at=now)
    for index in range(number):
        source = f"s{index}"
        builder.add(Kind.DNS_TXT, b"x", source=source, collected_at=now, subject=f"h/{index}")
    return builder.build()


def of_copies(number: int) -> Bundle:
    """Every answer of the collateral service that often, from as many sources."""
    audited = alone()
    builder = BundleBuilder()
    for item in audited.bundle.artifacts:
        if item.sha256 is None or item.kind is Kind.JSON_RPC:
            continue
        for copy in range(number if item.kind.value.startswith("pcs-") else 1):
            builder.add(
                item.kind,
                audited.bundle.blob(item),
                source=f"{item.source}{f'#{copy}' if copy else ''}",
                collected_at=item.collected_at,
                subject=item.subject,
                headers=dict(item.headers),
            )
    return builder.build()


def seconds(bundle: Bundle) -> float:
    """What an audit takes of the processor, at best of two."""
    taken: list[float] = []
    for _ in range(2):
        unread = replace(bundle, readings=Readings())
        start = time.process_time()
        alone().again(unread, trusted=False)
        taken.append(time.process_time() - start)
    return min(taken)


def peak(bundle: Bundle) -> float:
    """The bytes that an audit takes at most."""
    unread = replace(bundle, readings=Readings())
    tracemalloc.start()
    try:
        alone().again(unread, trusted=False)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("measure", [seconds, peak], ids=["time", "memory"])
def test_a_document_that_all_attesters_share(measure: Callable[[Bundle], float]) -> None:
    one, many = of_subjects(1), of_subjects(SUBJECTS)
    assert len(many.subjects) == SUBJECTS
    assert sum(map(len, many.blobs.values())) < 1.1 * sum(map(len, one.blobs.values()))
    least, most = measure(one), measure(many)
    if most > FACTOR * least:
        raise RefusedError(f"{SUBJECTS} attesters take {most / least:.1f} times what one takes")


def test_answers_of_many_collateral_services() -> None:
    """They are not tried in every combination."""
    one, many = of_copies(1), of_copies(COPIES)
    assert len(many.of(Kind.PCS_TCB_INFO)) == COPIES * len(one.of(Kind.PCS_TCB_INFO))
    least, most = seconds(one), seconds(many)
    if most > FACTOR * least:
        raise RefusedError(f"{COPIES} answers of each kind take {most / least:.1f} times as long")


@pytest.mark.parametrize("opening", [b"[],", b"{},", b"0,"])
def test_a_document_of_nothing_but_values_is_not_read(opening: bytes) -> None:
    """Four megabytes of brackets would be hundreds once they are read."""
    raw = b'{"event_log": [' + opening * (4_000_000 // len(opening)) + b"0]}"
    with pytest.raises(EvidenceError, match="more than 250,000 values"):
        parse_json(raw, "Info")


def test_what_is_wrong_with_a_shared_blob_is_said_of_each_source() -> None:
    builder = BundleBuilder()
    for source in ("one", "another"):
        builder.add(Kind.INFO, b"{", source=source, collected_at=0, subject=f"h/{source}")
    bundle = builder.build()
    said = [
        error.message
        for name in bundle.subjects
        for _, error in read_subject(bundle, name).malformed
    ]
    assert [text.partition(": ")[0] for text in said] == ["info from another", "info from one"]
