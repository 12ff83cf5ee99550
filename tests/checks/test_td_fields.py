"""What the body of a quote says of its TD, field by field: only what is known may stand there."""

from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.checks.application.identity import _config_id
from verifier.checks.case import Case
from verifier.checks.hardware.quote import td
from verifier.evidence.td.identity import MeasuredIdentity
from verifier.evidence.td.measurements import mr_config_id_v2, mr_config_id_v3
from verifier.evidence.td.quote import TdQuote, parse_quote
from verifier.lab.knobs import Knobs
from verifier.model.result import EvidenceRef, Status

KNOWN: Final = {28, 30, 31}
"""SEPT_VE_DISABLE, PKS and KL: bits of the TD's attributes."""

SCRIPT: Final = b"\x51" * 32


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


@pytest.fixture(scope="module")
def quote(honest: Audited) -> TdQuote:
    return parse_quote(honest.world.guest.quote(bytes(64)), "quote")


def of_td(honest: Audited, quote: TdQuote) -> Status:
    shown = SimpleNamespace(evidence=EvidenceRef("00" * 32))
    case = SimpleNamespace(quote=quote, presented=shown, reference=honest.question.reference)
    return td.run(cast("Case", case)).status


def test_each_attribute_that_nobody_knows_is_refused(honest: Audited, quote: TdQuote) -> None:
    assert of_td(honest, quote) is Status.PASS
    taken = {
        bit
        for bit in range(64)
        if of_td(honest, replace(quote, td_attributes=quote.td_attributes | 1 << bit))
        is Status.PASS
    }
    assert taken == KNOWN


def test_each_byte_of_a_service_td_is_refused(honest: Audited, quote: TdQuote) -> None:
    assert of_td(honest, replace(quote, mr_service_td=bytes(48))) is Status.PASS
    for place in range(48):
        bound = bytes(place) + b"\1" + bytes(47 - place)
        for field in ("mr_service_td", "mr_signer_seam"):
            assert of_td(honest, replace(quote, **{field: bound})) is Status.FAIL


def test_an_extension_for_service_tds_is_a_doubt(honest: Audited, quote: TdQuote) -> None:
    assert of_td(honest, replace(quote, extension=bytes(237))) is Status.WARN
    for place in range(237):
        extension = bytes(place) + b"\1" + bytes(236 - place)
        bound = 81 <= place < 137 or place >= 181
        expected = Status.FAIL if bound else Status.WARN
        assert of_td(honest, replace(quote, extension=extension)) is expected


def committed(quote: TdQuote, config_id: bytes, identity: MeasuredIdentity) -> str:
    case = SimpleNamespace(quote=replace(quote, mr_config_id=config_id), identity=identity)
    return _config_id(cast("Case", case))


def measured(*scripts: bytes) -> MeasuredIdentity:
    return MeasuredIdentity(
        app_id=b"\1" * 20,
        compose_hash=b"\2" * 32,
        instance_id=b"\3" * 20,
        os_image_hash=None,
        mr_kms=None,
        provider="kms",
        provider_id=b"\4" * 91,
        provider_payload=None,
        gpu_policy_hash=None,
        init_script_hashes=scripts,
        measures_rootfs=False,
    )


@pytest.mark.parametrize(
    "other",
    [
        {"compose_hash": b"\5" * 32},
        {"app_id": b"\5" * 20},
        {"provider": "tpm"},
        {"provider_id": b"\5" * 91},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_host_may_pin_by_the_second_version(quote: TdQuote, other: dict[str, Any]) -> None:
    pinned = mr_config_id_v2(b"\2" * 32, b"\1" * 20, "kms", b"\4" * 91)
    assert committed(quote, pinned, measured()) == "MRCONFIGID (version 2)"
    assert not committed(quote, pinned[:-1] + b"\1", measured())
    assert not committed(quote, pinned, replace(measured(), **other))
    unsealed = replace(measured(), provider="", provider_id=b"")
    none = mr_config_id_v2(b"\2" * 32, b"\1" * 20, "none", b"")
    assert committed(quote, none, unsealed) == "MRCONFIGID (version 2)"


@pytest.mark.parametrize("scripts", [(), (SCRIPT,), (SCRIPT, SCRIPT)])
def test_a_host_may_pin_by_the_third_version(quote: TdQuote, scripts: tuple[bytes, ...]) -> None:
    identity = measured(*scripts)
    pinned = mr_config_id_v3(b"\2" * 32, b"\1" * 20, "kms", b"\4" * 91, b"\3" * 20, None, scripts)
    for config_id in pinned:
        assert committed(quote, config_id, identity) == "MRCONFIGID (version 3)"
        assert not committed(quote, config_id[:-1] + b"\1", identity)
        assert not committed(quote, config_id, replace(identity, compose_hash=b"\5" * 32))
    other = mr_config_id_v3(
        b"\2" * 32, b"\1" * 20, "kms", b"\4" * 91, b"\3" * 20, None, (*scripts, b"\6" * 32)
    )
    for config_id in other - pinned:
        assert not committed(quote, config_id, identity)
