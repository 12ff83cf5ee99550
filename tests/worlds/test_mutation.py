"""One changed byte of a certificate in the evidence, and a blob that ends early: no crash, and
nothing new is believed. `tests/mutation` changes all else."""

import base64
import re
from collections.abc import Callable
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.mutation.invariants import BELIEVED, crashes
from tests.worlds.audited import Audited, edited
from verifier.collection import plan_collection
from verifier.evidence.bundle import Artifact, Kind
from verifier.lab.cert import Attestation, msgpack_v1, scale_v0
from verifier.model.result import Basis, Verdict

PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
# Certificates with a negative serial make the library warn of its future behaviour.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


def believed(audited: Audited) -> set[tuple[str, str, str, Basis]]:
    return {
        (subject.name, claim.name, repr(claim.value), claim.basis)
        for subject in audited.report.subjects
        for claim in subject.claims
        if claim.basis in BELIEVED
    }


def in_certificate(pem: str, which: int, index: int, value: int) -> str:
    """A PEM chain with one byte of one certificate's DER replaced."""
    blocks = list(PEM.finditer(pem))
    block = blocks[which % len(blocks)]
    der = bytearray(base64.b64decode(block[1]))
    der[index % len(der)] = value
    text = base64.encodebytes(bytes(der)).decode()
    return pem[: block.start(1)] + text + pem[block.end(1) :]


@given(
    which=st.integers(0, 2),
    index=st.integers(0, 600),
    value=st.integers(0, 255),
    kind=st.sampled_from([Kind.INFO, Kind.PCS_TCB_INFO, Kind.PCS_QE_IDENTITY, Kind.PCS_PCK_CRL]),
)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(which=0, index=12, value=10, kind=Kind.PCS_TCB_INFO)  # version 11 of X.509
@example(which=1, index=174, value=0, kind=Kind.INFO)  # a curve that nobody knows
@example(which=1, index=46, value=0, kind=Kind.INFO)  # a name that is no name
def test_one_byte_of_a_certificate(
    honest: Audited, which: int, index: int, value: int, kind: Kind
) -> None:
    def change(artifact: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
        if artifact.kind is not kind:
            return artifact, raw
        if kind is Kind.INFO:
            text = raw.decode().replace("\\n", "\n")
            return artifact, in_certificate(text, which, index, value).replace("\n", "\\n").encode()
        headers = tuple(
            (name, quote(in_certificate(unquote(held), which, index, value)))
            for name, held in artifact.headers
        )
        return replace(artifact, headers=headers), raw

    audited = honest.again(edited(honest.bundle, change))
    plan_collection(audited.bundle, audited.question)
    assert not crashes(audited.report)
    if audited.report.verdict is Verdict.AFFIRMING:
        assert believed(audited) <= believed(honest)


@pytest.mark.parametrize("encode", [scale_v0, msgpack_v1])
@pytest.mark.parametrize("cut", [1, 700, 5000])
def test_a_broken_attestation_blob_is_malformed(
    honest: Audited, encode: Callable[[Attestation], bytes], cut: int
) -> None:
    raw = encode(honest.world.guest.cert_attestation)
    whole = honest.handing_over(((Kind.ATTESTATION, raw),))
    assert whole.report.verdict is Verdict.AFFIRMING
    broken = honest.handing_over(((Kind.ATTESTATION, raw[:-cut]),))
    assert not crashes(broken.report)
    assert broken.report.verdict is not Verdict.AFFIRMING
