"""A quote handed over with several event logs: which of them counts is decided by its registers."""

import json
from collections.abc import Callable
from typing import Final

import pytest

from tests.worlds.audited import Audited, audit
from tests.worlds.ordered import DIGESTS, in_both_orders, outcome
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


def entries(audited: Audited) -> list[dict[str, str | int]]:
    """The whole log of the guest, to be changed."""
    found: list[dict[str, str | int]] = json.loads(json.dumps(audited.world.guest.log))
    return found


def changed(audited: Audited, imr: int, number: int) -> bytes:
    """The log with another digest for the first entry of a register."""
    log = entries(audited)
    next(item for item in log if item["imr"] == imr)["digest"] = f"{number + 1:096x}"
    return json.dumps(log).encode()


def lacking(audited: Audited, imr: int, number: int) -> bytes:
    """The log without the entries of a register."""
    log = [item for item in entries(audited) if item["imr"] != imr]
    return json.dumps(log).encode() + b" " * number


def renamed(audited: Audited, number: int) -> bytes:
    """The log with the second colon of a preimage moved: an event is hidden, and RTMR3 replays."""
    log = entries(audited)
    event = next(item for item in log if item["event"] == "key-provider")
    head, _, rest = bytes.fromhex(str(event["event_payload"])).partition(b":")
    event |= {"event": f"key-provider:{head.decode()}", "event_payload": rest.hex()}
    return json.dumps(log).encode() + b" " * number


@pytest.mark.parametrize(
    ("other", "check_id"),
    [
        (lambda audited, n: changed(audited, 1, n), "boot.registers"),
        (lambda audited, n: changed(audited, 3, n), "runtime.replay"),
        (lambda audited, n: lacking(audited, 1, n), "boot.registers"),
        (renamed, "runtime.events"),
    ],
    ids=["boot digest", "runtime digest", "cut boot", "renamed"],
)
def test_of_two_logs_that_give_rtmr3_the_one_that_fits_counts(
    honest: Audited, other: Callable[[Audited, int], bytes], check_id: str
) -> None:
    quote, good = honest.world.guest.cert_attestation.quote, json.dumps(entries(honest)).encode()
    right = handed_over(honest, quote, [good])
    assert not [x for x in right.report.subjects[0].checks if x.status is Status.FAIL]
    alone = handed_over(honest, quote, [other(honest, 0)])
    assert alone.check(check_id)[0].status is Status.FAIL
    for number in DIGESTS:
        both = handed_over(honest, quote, [good, other(honest, number)])
        for bundle in in_both_orders(both.bundle, Kind.EVENT_LOG):
            assert outcome(both.again(bundle)) == outcome(right)
