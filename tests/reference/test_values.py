"""What the embedded reference values say, and that no two of them contradict each other."""

import hashlib
import json
from importlib import resources
from itertools import groupby
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec.structs import replace

from verifier.evidence.chain.constructor import TIMELOCK_CREATION_ROLE, created_by
from verifier.evidence.chain.contracts import identify_code
from verifier.machine.firmware import layout_from_witness
from verifier.reference.values import EXPLORER, OsImage, embedded, parse_reference

OVMF = "76888ce69c91aed86c43f840b913899b40b981964b7ce6018667f91ad06301f0"
FILES = {
    "0.5.7": (
        OVMF,
        "bfb747a3649e3dc7f0fc996b8d5f012f72b15de58d1229fa7e1ebc4c5a94a6da",
        "da76e309cb8cb03e76f5a98f6f72069d810d1f014b4795b1bc7c11107bf8044d",
        "ecca6c433360ed7be97bee73fa554dd34b7f8eadee9f729a0c949ecf4c20d539",
    ),
    "0.5.8": (
        OVMF,
        "2afe5b0571363fe2278a3438e337630bfeffc74bafba3d116630e2a1ef1805f3",
        "1272ab4b10db1933d02a80059fbb94b4be9eb4af8c4f79e739dfc0b0101acc40",
        "20fde70b9e4f31ab6ef55d8a5bf33b1734593a9e605982c510c0963d69af075b",
    ),
}
"""sha256 of the files of a release, as near/mpc's operator guide lists them."""

NAMES = ("ovmf.fd", "bzImage", "initramfs.cpio.gz", "metadata.json")

COMPILED = Path(__file__).parents[1] / "evm" / "contracts" / "compiled.json"


def registers(row: OsImage) -> tuple[str, str, str]:
    return row.mrtd, row.rtmr1, row.rtmr2


def images(**fields: str) -> list[OsImage]:
    rows = embedded().os_images
    return [row for row in rows if all(getattr(row, key) == fields[key] for key in fields)]


def test_every_row_says_where_it_is_from_and_when_that_was_read() -> None:
    reference = embedded()
    tables = (
        *(reference.kms, reference.key_providers, reference.tdx_modules),
        *(reference.os_images, reference.contracts, reference.rpc, reference.reserves),
    )
    for row in (row for table in tables for row in table):
        assert row.source, row
        assert row.date >= "2026", row


def test_registers_name_one_image() -> None:
    rows = sorted((row for row in embedded().os_images if row.mrtd), key=registers)
    for _, same in groupby(rows, key=registers):
        assert len(list(same)) == 1
    for row in rows:
        assert {len(value) for value in registers(row)} == {96}
        assert row.kind in ("production", "development", "unknown")
        assert row.origin in ("observed", "measured")


def test_the_firmware_of_known_images_is_known() -> None:
    (row,) = embedded().firmwares
    layout_from_witness(bytes.fromhex(row.witness), bytes.fromhex(row.volume))
    assert len(row.mrtd) == 2
    for image in embedded().os_images:
        if image.origin == "measured":
            assert embedded().firmware_of(image.mrtd) is row


def test_one_hash_is_one_release_of_one_kind() -> None:
    rows = sorted((row for row in embedded().os_images if row.os_image_hash), key=image_hash)
    for name, same in groupby(rows, key=image_hash):
        assert len({(row.kind, row.release) for row in same}) == 1, name


def image_hash(row: OsImage) -> str:
    return row.os_image_hash


@pytest.mark.parametrize("release", FILES)
def test_a_measured_image_is_that_of_the_files_of_its_release(release: str) -> None:
    text = "".join(
        f"{digest}  {name}\n" for digest, name in zip(FILES[release], NAMES, strict=True)
    )
    (row,) = images(release=release)
    assert hashlib.sha256(text.encode()).hexdigest() == row.os_image_hash
    assert (row.kind, row.origin) == ("production", "measured")


def test_images_of_one_kernel_differ_in_what_they_boot() -> None:
    for release in ("0.5.4", "0.5.7", "0.5.8"):
        production, *_ = images(release=release, origin="measured")
        (development,) = images(release=f"dev-{release}")
        assert production.rtmr1 == development.rtmr1
        assert production.rtmr2 != development.rtmr2
        assert development.kind == "development"


def test_key_providers_and_ca_keys_are_well_formed() -> None:
    reference = embedded()
    assert {len(row.mrenclave) for row in reference.key_providers} == {64}
    assert len({row.mrenclave for row in reference.key_providers}) == 2
    for row in reference.kms:
        if row.ca_spki:
            load_der_public_key(bytes.fromhex(row.ca_spki))


def test_a_document_of_before_names_no_key_provider() -> None:
    raw = resources.files("verifier.reference").joinpath("values.json").read_bytes()
    document = json.loads(raw)
    del document["key_providers"]
    older = parse_reference(json.dumps(document).encode(), unsafe="")
    assert older.key_providers == ()
    assert older.os_images == embedded().os_images


def test_modules_are_well_formed() -> None:
    assert {len(row.mr_seam) for row in embedded().tdx_modules} == {96}


def test_the_compiled_timelock_of_the_chain_tests_is_a_known_owner() -> None:
    """Creation code without immutables holds the runtime code as it is, at its end."""
    compiled = json.loads(COMPILED.read_bytes())["TimelockController"]
    creation = bytes.fromhex(compiled["bytecode"])
    runtime = creation[creation.index(b"\x60\x80\x60\x40\x52", 1) :]
    found = identify_code(embedded().contracts, runtime, "timelock")
    assert found is not None
    assert found.generation == "TimelockController 5.2.0"
    assert identify_code(embedded().contracts, runtime[:-60] + bytes(60), "timelock") is None
    made = created_by(embedded().contracts, creation + bytes(128), TIMELOCK_CREATION_ROLE)
    assert made is not None
    assert made.generation == found.generation


def test_whoever_lends_two_endpoints_may_run_both() -> None:
    known = next(row for row in embedded().rpc if row.operator)
    lent = ("https://one.example/a", "https://other.invalid/b", known.url)
    own, borrowed = embedded(), replace(embedded(), lent=lent)
    assert len({own.operator_of(url) for url in lent}) == 3
    assert len({borrowed.operator_of(url) for url in lent}) == 2
    assert borrowed.operator_of(known.url) == known.operator
    assert borrowed.operator_of("https://mine.example/") == "mine.example"


def test_another_host_of_a_known_operator_is_no_second_one() -> None:
    reference = embedded()
    assert reference.operator_of("https://base.publicnode.com") == "Allnodes"
    assert reference.operator_of("https://base-rpc.publicnode.com") == "Allnodes"
    assert reference.operator_of("https://lb.drpc.org/ogrpc?network=base") == "dRPC"
    assert reference.operator_of("https://base.example.org") == "example.org"


@pytest.mark.parametrize("chain_id", [1, 8453])
def test_each_chain_has_an_explorer_of_another_operator_than_its_endpoints(chain_id: int) -> None:
    reference = embedded()
    endpoints = {row.operator for row in reference.rpc if row.chain_id == chain_id}
    reserves = [row for row in reference.reserves if row.chain_id == chain_id]
    assert len(endpoints) >= 2
    assert [row for row in reserves if row.kind == EXPLORER and row.operator not in endpoints]
    assert all(row.limits for row in reserves)
    urls = [*(row.url for row in reference.rpc), *(row.url for row in reference.reserves)]
    assert len(set(urls)) == len(urls)
