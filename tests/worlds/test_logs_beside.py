"""A quote handed over with several event logs: which of them counts is decided by RTMR3 alone."""

import json
from typing import Final

import pytest

from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.subject import read_subject
from verifier.lab.knobs import Knobs
from verifier.model.result import Status

ENDORSING: Final = (
    Kind.COLLATERAL,
    Kind.PCS_TCB_INFO,
    Kind.PCS_QE_IDENTITY,
    Kind.PCS_PCK_CRL,
    Kind.PCS_ROOT_CA_CRL,
)
OTHERS: Final = {
    "of another guest": lambda: log_of(audit(Knobs(seed="another"))),
    "malformed": lambda: b"{}",
    "cut": lambda: json.dumps(json.loads(log_of(audit(Knobs())))[:-2]).encode(),
}


def source_of(audited: Audited) -> tuple[bytes, bytes]:
    """The quote and the event log of the first attester."""
    source = read_subject(audited.bundle, audited.bundle.subjects[0]).quotes[0]
    log = source.log if isinstance(source.log, bytes) else json.dumps(source.log).encode()
    return source.quote, log


def log_of(audited: Audited) -> bytes:
    return source_of(audited)[1]


def handed_over(audited: Audited, quote: bytes, logs: list[bytes]) -> Audited:
    """The same question about a quote and logs, with the collateral that was collected."""
    kept = tuple(item for item in audited.bundle.artifacts if item.kind in ENDORSING)
    builder = BundleBuilder(Bundle(kept, audited.bundle.blobs))
    for kind, raw in ((Kind.QUOTE, quote), *((Kind.EVENT_LOG, log) for log in logs)):
        builder.add(kind, raw, source="handed over", collected_at=audited.world.now)
    return audited.again(builder.build(), trusted=False)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_log_beside_the_right_one_accuses_nobody(other: object) -> None:
    audited = audit(Knobs())
    quote, log = source_of(audited)
    wrong: bytes = other()  # type: ignore[operator]
    for spaces in range(4):  # artifacts stand in the order of their digests
        logs = [log, wrong + b" " * spaces]
        found = handed_over(audited, quote, logs)
        assert found.check("runtime.replay")[0].status is Status.PASS
    alone = handed_over(audited, quote, [wrong])
    assert alone.check("runtime.replay")[0].status is Status.FAIL
