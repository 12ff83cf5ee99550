"""A verifier's work, timed in its own process: `timed_python.py NAME FOLDER`.

Each line of stdin is a job and its size; what it takes of processor seconds is the answer. Inputs
are made before the clock starts, and a wrong result has no speed.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from folder import Folder

Job = Callable[[], object]
RUNTIME = 0x08000001


def events(count: int) -> list[dict[str, Any]]:
    """A log of events that a guest wrote, each with its true digest."""
    found = []
    for number in range(count):
        name, payload = f"event-{number}", number.to_bytes(32, "big")
        written = RUNTIME.to_bytes(4, "little") + b":" + name.encode() + b":" + payload
        digest = hashlib.sha384(written).hexdigest()
        entry = {"imr": 3, "event_type": RUNTIME, "digest": digest, "event": name}
        found.append({**entry, "event_payload": payload.hex()})
    return found


def register(log: list[dict[str, Any]]) -> bytes:
    """What RTMR3 is after this log."""
    value = bytes(48)
    for item in log:
        value = hashlib.sha384(value + bytes.fromhex(item["digest"])).digest()
    return value


def manifest(count: int) -> bytes:
    """A manifest with so many services, in the order of keys that is hashed."""
    services = "".join(
        f"  service{number}:\n    image: acme/service{number}@sha256:{number:064x}\n"
        for number in range(count)
    )
    document = {
        "allowed_envs": [f"TOKEN_{number}" for number in range(count)],
        "docker_compose_file": f"services:\n{services}",
        "kms_enabled": True,
        "manifest_version": 2,
        "name": "timed",
        "runner": "docker-compose",
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def collateral(folder: Folder) -> dict[str, Any]:
    """The members of QuoteCollateralV3, with bytes where they are bytes."""
    binary = ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature")
    held = folder.collateral
    return {**held, **{name: bytes.fromhex(held[name]) for name in binary}}


def ours(folder: Folder) -> dict[str, Callable[[int], Job]]:
    from verifier.checks.dcap import verify_quote
    from verifier.evidence.compose.app_compose import parse_app_compose
    from verifier.evidence.td.event_log import parse_event_log, replay, runtime_digest

    endorsements, raw, root = collateral(folder), folder.quote, folder.root

    def quotes(count: int) -> Job:
        def job() -> None:
            for _ in range(count):
                assert not verify_quote(raw, endorsements, root, folder.at).failure

        return job

    def log(count: int) -> Job:
        given = events(count)
        text, value = json.dumps(given).encode(), register(given)

        def job() -> None:
            found = parse_event_log(text, "event log")
            digests = [runtime_digest(event) for event in found]
            assert digests == [event.digest for event in found]
            assert replay(digests) == value

        return job

    def read(count: int) -> Job:
        text = manifest(count)
        digest = hashlib.sha256(text).hexdigest()

        def job() -> None:
            parse_app_compose(text)
            assert hashlib.sha256(text).hexdigest() == digest

        return job

    return {"quote": quotes, "log": log, "manifest": read}


def each(count: int, one: Job) -> Job:
    def job() -> None:
        for _ in range(count):
            one()

    return job


def dcap_qvl(folder: Folder) -> dict[str, Callable[[int], Job]]:
    import dcap_qvl

    endorsements = dcap_qvl.QuoteCollateralV3(**collateral(folder))
    raw, root, at = folder.quote, folder.root, folder.at

    def one() -> None:
        assert dcap_qvl.verify_with_root_ca(raw, endorsements, root, at).status == "UpToDate"

    return {"quote": lambda count: each(count, one)}


def secretvm(folder: Folder) -> dict[str, Callable[[int], Job]]:
    from secretvm.verify import tdx

    endorsements = tdx.dcap_qvl.QuoteCollateralV3(**collateral(folder))
    text, root, at = folder.quote.hex(), folder.root, folder.at

    async def verified(raw: bytes) -> object:
        return tdx.dcap_qvl.verify_with_root_ca(raw, endorsements, root, at)

    tdx._tdx_dcap_verify_async = verified  # noqa: SLF001 - it would fetch the collateral

    def one() -> None:
        assert tdx.check_tdx_cpu_attestation(text).valid

    return {"quote": lambda count: each(count, one)}


def tinfoil(folder: Folder) -> dict[str, Callable[[int], Job]]:
    from cryptography import x509
    from tinfoil.attestation import cert_utils
    from tinfoil.attestation.abi_tdx import parse_quote
    from tinfoil.attestation.validate_tdx import PolicyOptions, validate_tdx_policy
    from tinfoil.attestation.verify_tdx import verify_tdx_quote

    root, raw = x509.load_der_x509_certificate(folder.root), folder.quote
    cert_utils.get_intel_root_ca = lambda: root

    def one() -> None:
        quote = parse_quote(raw)
        verify_tdx_quote(quote, raw)
        validate_tdx_policy(quote, PolicyOptions())

    return {"quote": lambda count: each(count, one)}


def dstack_sdk(_: Folder) -> dict[str, Callable[[int], Job]]:
    from dstack_sdk import GetQuoteResponse, get_compose_hash

    def log(count: int) -> Job:
        given = events(count)
        text, value = json.dumps(given), register(given).hex()

        def job() -> None:
            answer = GetQuoteResponse(quote="", event_log=text)
            assert answer.replay_rtmrs()[3] == value

        return job

    def read(count: int) -> Job:
        text = manifest(count)
        digest = hashlib.sha256(text).hexdigest()

        def job() -> None:
            assert get_compose_hash(json.loads(text)) == digest

        return job

    return {"log": log, "manifest": read}


VERIFIERS = {
    "verify": ours,
    "dcap-qvl": dcap_qvl,
    "secretvm-verify": secretvm,
    "tinfoil": tinfoil,
    "dstack-sdk": dstack_sdk,
}


def main() -> None:
    jobs = VERIFIERS[sys.argv[1]](Folder())
    print(json.dumps(sorted(jobs)), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        job = jobs[asked["job"]](asked["size"])
        start = time.process_time()
        job()
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
