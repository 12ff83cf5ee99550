"""Attacks on what GPUs say, and on what is said about them."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from verifier.evidence.bundle import Kind
from verifier.evidence.td.quote import parse_quote
from verifier.lab import forgeries as forge
from verifier.lab import keys
from verifier.lab.attacks.attack import Attack, missing, refused, warned
from verifier.lab.events import MACHINE
from verifier.lab.gpu import Gpus, attacker_chain
from verifier.lab.knobs import Knobs
from verifier.lab.world import World

CHECK: Final = "hardware.gpu"
WITH_GPUS: Final = Knobs(machine={**MACHINE, "num_gpus": 2})
"""A world whose machine has two GPUs."""

_OTHER_NONCE: Final = keys.labelled("nonce of nobody's", 32)
GpuEdit = Callable[[Gpus], Gpus]
Entries = list[dict[str, str]]
"""`evidence_list` of a payload."""


def nonce_of(world: World) -> bytes:
    """The nonce that a guest asks its GPUs over: the first half of the report data of the quote in
    its certificate, which commits to its key."""
    return parse_quote(world.guest.cert_attestation.quote, "lab quote").report_data[:32]


def honest(world: World) -> forge.HandedOver:
    """The GPUs' reports over the quote's nonce, and NVIDIA's manifests of what runs on them."""
    return _given(world, world.gpus, rims=True)


def vouched_for(world: World) -> forge.HandedOver:
    """The GPUs' reports, and a verdict of NVIDIA's service on them."""
    gpus, nonce = world.gpus, nonce_of(world)
    verdict = (Kind.GPU_VERDICT, gpus.verdict(nonce)), (Kind.GPU_VERDICT_KEYS, gpus.key_set())
    return (*_given(world, gpus, rims=False), *verdict)


def attacks() -> Iterator[Attack]:
    """Reports, verdicts and manifests that are not what they look like."""
    yield from _reports()
    yield from _said_about_them()


def _reports() -> Iterator[Attack]:
    edits: dict[str, tuple[str, GpuEdit]] = {
        "gpu-foreign-root": (
            "makes GPUs under a root of its own",
            lambda gpus: replace(gpus, root="attacker"),
        ),
        "gpu-other-firmware": (
            "lets a GPU's key sign for firmware that its certificate does not name",
            lambda gpus: replace(gpus, leaf_firmware="other firmware"),
        ),
        "gpu-debug-mode": (
            "runs its GPUs in a mode in which their memory can be read",
            lambda gpus: replace(gpus, debug=True),
        ),
    }
    for name, (title, edit) in edits.items():
        yield _refused(name, title, lambda world, edit=edit: _given(world, edit(world.gpus)))  # type: ignore[misc]
    entries: dict[str, tuple[str, Callable[[Entries], Entries]]] = {
        "gpu-report-edited": (
            "names another driver in a signed report",
            lambda listed: [_edited(item, b"570.172", b"999.999") for item in listed],
        ),
        "gpu-counted-twice": (
            "shows one GPU in the place of two",
            lambda listed: [*listed, listed[-1]],
        ),
        "gpu-key-certifies-another": (
            "lets a GPU's attestation key certify a key of the attacker's",
            lambda listed: [_certified(item, place) for place, item in enumerate(listed)],
        ),
    }
    for name, (title, change) in entries.items():
        yield _refused(name, title, lambda world, change=change: _changed(world, change))  # type: ignore[misc]
    yield _refused(
        "gpu-two-keys-of-one",
        "shows one GPU under two attestation keys in the place of two",
        lambda world: _changed(world, lambda listed: [listed[0], _second_key(world)]),
    )
    yield _refused(
        "gpu-other-nonce-named",
        "names the quote's nonce beside reports that answer another one",
        lambda world: (
            (Kind.GPU_EVIDENCE, world.gpus.payload(_OTHER_NONCE, named=nonce_of(world))),
        ),
    )
    yield _warned(
        "gpu-of-another-machine",
        "shows genuine GPUs of another machine, over a nonce that the quote does not carry",
        "the GPUs are genuine; that nothing ties them to this TD is said",
        lambda world: ((Kind.GPU_EVIDENCE, world.gpus.payload(_OTHER_NONCE)), *_rims(world)),
    )
    yield _warned(
        "gpu-silent",
        "shows one GPU of a machine with two",
        "the one is genuine; what stands at the other port is not known",
        lambda world: _given(world, replace(world.gpus, count=1)),
    )
    why = "nothing contradicts the TD: what its GPUs are is not known"
    title = "gives no evidence of the GPUs that its machine has"
    yield missing("gpu-unspoken", CHECK, title, WITH_GPUS, why, **_TWIN)


def _said_about_them() -> Iterator[Attack]:
    yield _refused(
        "gpu-verdict-of-failure",
        "shows a verdict of NVIDIA's service that is validly signed, and of failure",
        lambda world: (
            *_given(world, world.gpus),
            (Kind.GPU_VERDICT, world.gpus.verdict(nonce_of(world), success=False)),
            (Kind.GPU_VERDICT_KEYS, world.gpus.key_set()),
        ),
    )
    yield _refused(
        "gpu-verdict-on-others",
        "hands over, with its own GPUs, a genuine verdict of failure on others",
        lambda world: (
            *_given(world, world.gpus),
            (Kind.GPU_VERDICT, _others(world).verdict(_OTHER_NONCE, success=False)),
            (Kind.GPU_VERDICT_KEYS, world.gpus.key_set()),
        ),
    )
    why = "the GPUs are genuine; what is said of their driver and firmware is nobody's word"
    yield _warned(
        "gpu-verdict-forged",
        "signs a verdict of success with a key that NVIDIA's service does not have",
        why,
        lambda world: judged(world, replace(world.gpus, service="attacker")),
    )
    yield _warned(
        "gpu-manifests-forged",
        "signs manifests that allow what its GPUs run with a key of its own",
        why,
        lambda world: _given(world, replace(world.gpus, rim_root="attacker")),
    )


_TWIN: Final = {"twin": WITH_GPUS, "twin_handed_over": honest}


def _refused(name: str, title: str, given: Callable[[World], forge.HandedOver]) -> Attack:
    return refused(name, CHECK, title, WITH_GPUS, handed_over=given, **_TWIN)


def _warned(name: str, title: str, why: str, given: Callable[[World], forge.HandedOver]) -> Attack:
    return warned(name, CHECK, title, WITH_GPUS, why, handed_over=given, **_TWIN)


def _given(world: World, gpus: Gpus, *, rims: bool = True) -> forge.HandedOver:
    payload = (Kind.GPU_EVIDENCE, gpus.payload(nonce_of(world)))
    return (payload, *(_rims(world, gpus) if rims else ()))


def _rims(world: World, gpus: Gpus | None = None) -> forge.HandedOver:
    return tuple((Kind.GPU_RIM, raw) for raw in (gpus or world.gpus).rims())


def judged(world: World, judge: Gpus, *, age: int = 60) -> forge.HandedOver:
    """The reports, and what a service says of some GPUs over their nonce."""
    nonce = nonce_of(world)
    return (
        (Kind.GPU_EVIDENCE, world.gpus.payload(nonce)),
        (Kind.GPU_VERDICT, judge.verdict(nonce, age=age)),
        (Kind.GPU_VERDICT_KEYS, judge.key_set()),
    )


def _others(world: World) -> Gpus:
    return replace(world.gpus, label="other gpu")


def _changed(world: World, change: Callable[[Entries], Entries]) -> forge.HandedOver:
    document = json.loads(world.gpus.payload(nonce_of(world)))
    document["evidence_list"] = change(document["evidence_list"])
    return ((Kind.GPU_EVIDENCE, json.dumps(document).encode()), *_rims(world))


def _edited(entry: dict[str, str], old: bytes, new: bytes) -> dict[str, str]:
    raw = base64.b64decode(entry["evidence"])
    return {**entry, "evidence": base64.b64encode(raw.replace(old, new)).decode()}


def _second_key(world: World) -> dict[str, str]:
    """The entry of the first GPU, by the key that its device certified for another firmware."""
    return world.gpus.entry(0, nonce_of(world), "second leaf")


def _certified(entry: dict[str, str], place: int) -> dict[str, str]:
    """An entry whose chain goes on below the attestation key, to a key that signs its report."""
    pem, signer = attacker_chain(base64.b64decode(entry["certificate"]), f"gpu {place} leaf")
    signed = base64.b64decode(entry["evidence"])[:-96]
    report = signed + keys.sign_p384(signer, signed)
    return {
        **entry,
        "certificate": base64.b64encode(pem).decode(),
        "evidence": base64.b64encode(report).decode(),
    }
