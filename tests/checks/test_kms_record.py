"""Which record is that of the KMS that the guest names: the known one of its CA key, else the one
that the relying party names, unless that is known to be another."""

from types import SimpleNamespace
from typing import Final

import pytest
from msgspec.structs import replace

from verifier.checks.case import Case
from verifier.cli.question import simulated_reference
from verifier.lab.world import build
from verifier.reference.values import KmsRecord

MEASURED: Final = b"\x04" * 91
OTHER: Final = "05" * 91


def record(name: str, ca_spki: str) -> KmsRecord:
    row = simulated_reference(build().reference()).kms[0]
    return replace(row, name=name, ca_spki=ca_spki)


def met(
    named: KmsRecord | None,
    *known: KmsRecord,
    provider: str = "kms",
    provider_id: bytes = MEASURED,
) -> KmsRecord | None:
    case = SimpleNamespace(
        identity=SimpleNamespace(provider=provider, provider_id=provider_id),
        reference=SimpleNamespace(kms=known),
        question=SimpleNamespace(kms=named),
    )
    found: KmsRecord | None = vars(Case)["kms_record"].func(case)
    return found


KNOWN: Final = record("known", MEASURED.hex())
ANOTHER: Final = record("another", OTHER)
BY_CONTRACT: Final = record("named", "")
BY_KEY: Final = record("named", MEASURED.hex())


@pytest.mark.parametrize(
    ("named", "known", "expected"),
    [
        (None, (KNOWN, ANOTHER), KNOWN),
        (None, (ANOTHER,), None),
        (BY_CONTRACT, (ANOTHER,), BY_CONTRACT),
        (BY_KEY, (ANOTHER,), BY_KEY),
        (ANOTHER, (), None),
        (BY_CONTRACT, (KNOWN,), KNOWN),
        (KNOWN, (BY_KEY, KNOWN), KNOWN),
    ],
    ids=["known", "unknown", "contract", "key", "another key", "known as another", "one of two"],
)
def test_which_record_it_is(
    named: KmsRecord | None, known: tuple[KmsRecord, ...], expected: KmsRecord | None
) -> None:
    assert met(named, *known) == expected
    assert met(named, *known, provider="tpm") is None


def test_a_guest_that_names_no_key_has_no_known_kms() -> None:
    nameless = record("of no key that is known", "")
    assert met(None, nameless, provider_id=b"") is None
    assert met(BY_CONTRACT, nameless, provider_id=b"") == BY_CONTRACT
