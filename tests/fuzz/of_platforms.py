"""Targets: other platforms than TDX, GPUs, and where a machine stands."""

import json
from typing import Final

import msgpack

from tests.fuzz.of_guests import JSON, world
from tests.fuzz.target import Target, each
from verifier.evidence.gpu.canonical_xml import canonical, parse_xml
from verifier.evidence.gpu.nras import parse_answer, parse_keys
from verifier.evidence.gpu.payload import parse_payload
from verifier.evidence.gpu.report import GpuReport, parse_report
from verifier.evidence.gpu.rim import parse_rim
from verifier.evidence.platforms.cbor import parse_cbor
from verifier.evidence.platforms.envelope import parse_platform
from verifier.evidence.platforms.place import parse_place
from verifier.evidence.platforms.snp import parse_snp_report
from verifier.evidence.platforms.snp_launch import launch_measurement, parse_launch
from verifier.image.lite import parse_lite, read_cbor
from verifier.lab.gpu import Gpus
from verifier.lab.knobs import DEFAULT_NOW
from verifier.lab.place import statement
from verifier.lab.snp import Snp, config, mr_config
from verifier.machine.shape import vm_config_of

_GPUS: Final = Gpus(count=2, now=DEFAULT_NOW)
_NONCE: Final = bytes(32)


def _launch(raw: bytes) -> object:
    launch = parse_launch(raw.decode("utf-8", "replace"), "launch")
    return launch and launch_measurement(launch)


def _stated(gpu: GpuReport) -> object:
    return gpu.driver, gpu.vbios, gpu.board


def _enclaves() -> list[bytes]:
    """The envelope of other platforms, in version 1."""
    report = list(Snp().report())
    kinds = {
        "sev-snp": {"report": report, "cert_chain": [b"x"], "mr_config": mr_config(bytes(20))},
        "nitro-enclave": {"nsm_quote": b"x"},
        "aws-nitro-tpm": {"attestation_doc": [1, 2]},
    }
    stack = {"kind": "dstack", "data": {"report_data": bytes(64), "runtime_events": []}}
    return [
        msgpack.packb({"version": 1, "platform": {"kind": kind, "data": held}, "stack": stack})
        for kind, held in kinds.items()
    ]


def _measured() -> list[bytes]:
    """CBOR: `{"a": {"b": h'0102', "c": 24}, "d": ["e"]}`, and what stands in `read_cbor`."""
    return [
        bytes.fromhex("a26161a261624201026163181861648161 65".replace(" ", "")),
        bytes.fromhex("a16776657273696f6e02"),
    ]


TARGETS: Final = (
    Target(
        name="platform",
        parse=lambda raw: parse_platform(raw, "blob"),
        records=(parse_platform,),
        given=lambda: [Snp().attestation(), *_enclaves()],
    ),
    Target(
        name="snp-report",
        parse=lambda raw: parse_snp_report(raw, "report"),
        records=(parse_snp_report,),
        given=lambda: [Snp().report()],
    ),
    Target(
        name="snp-launch",
        parse=_launch,
        records=(parse_launch,),
        given=lambda: [config(Snp().launched).encode()],
        tokens=JSON,
    ),
    Target(
        name="lite-measurement",
        parse=each(
            lambda raw: parse_lite(vm_config_of(raw)),
            read_cbor,
            lambda raw: parse_cbor(raw, "document"),
        ),
        records=(parse_lite, read_cbor, parse_cbor),
        given=lambda: [*_measured(), json.dumps({"tdx_measurement": {}}).encode()],
        tokens=JSON,
    ),
    Target(
        name="place",
        parse=lambda raw: parse_place(raw, "statement"),
        records=(parse_place,),
        given=lambda: [statement(world())],
        tokens=JSON,
    ),
    Target(
        name="gpu-payload",
        parse=lambda raw: [_stated(item.report) for item in parse_payload(raw, "payload").gpus],
        records=(parse_payload,),
        given=lambda: [_GPUS.payload(_NONCE)],
        tokens=JSON,
    ),
    Target(
        name="gpu-report",
        parse=lambda raw: _stated(parse_report(raw, "report")),
        records=(parse_report,),
        given=lambda: [_GPUS.report(0, _NONCE)],
    ),
    Target(
        name="gpu-rim",
        parse=each(
            lambda raw: parse_rim(raw, "RIM"),
            lambda raw: canonical(parse_xml(raw, "XML")),
        ),
        records=(parse_rim,),
        given=lambda: list(_GPUS.rims()),
        tokens=(b"<!DOCTYPE a [", b"xmlns:a=", b"&amp;", b"<![CDATA[", b"<!--", b"<?a?>", b"/>"),
    ),
    Target(
        name="gpu-verdict",
        parse=each(lambda raw: parse_answer(raw, "answer"), lambda raw: parse_keys(raw, "keys")),
        records=(parse_answer, parse_keys),
        given=lambda: [_GPUS.verdict(_NONCE), _GPUS.key_set()],
        tokens=JSON,
    ),
)
