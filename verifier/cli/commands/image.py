"""`verify image`: what guests of an OS image measure, computed from its files."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.output import write
from verifier.cli.streams import print_row, progress
from verifier.errors import EvidenceError, UsageError, did_you_mean
from verifier.evidence.codec import JsonObject
from verifier.patterns import pattern

if TYPE_CHECKING:
    from verifier.image.files import ImageFiles
    from verifier.machine.shape import MachineShape

_HASH: Final = pattern(r"[0-9a-f]{64}", re.ASCII)


def measure(
    image: Annotated[
        Path | None,
        typer.Argument(metavar="DIR|TARBALL", help="A release of dstack's OS images."),
    ] = None,
    fetch: Annotated[
        str,
        typer.Option(metavar="RELEASE", help="Download it: a release that is known, or a hash."),
    ] = "",
    mirror: Annotated[
        str,
        typer.Option(metavar="URL", help="Where to download it from, instead of dstack's server."),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="IMAGE.json", help="Write the measurement here."),
    ] = None,
    machine: Annotated[
        Path | None,
        typer.Option(metavar="VM_CONFIG.json", help="The machine to compute RTMR0 for."),
    ] = None,
) -> None:
    """Measure an OS image of dstack from its files: MRTD, RTMR1 and RTMR2; RTMR0 of a machine.

    The image's hash is that of its own checksum list, and every file is held against that list.
    Compare the hash with the one that the release publishes, or that a KMS allows on chain: the
    list itself says nothing about who made it. `verify APP --image IMAGE.json` takes the result
    for your own measurement.

    Examples:

      verify image dstack-0.5.8/ -o IMAGE.json

      verify image dstack-0.5.8.tar.gz --machine vm_config.json

      verify image --fetch 0.5.8 -o IMAGE.json

    Exit codes: 0 done; 3 the files are not those of an image, or not what its list says, or of
    another image than the one to be downloaded.
    """
    from verifier.cli.files import read_file, require_file  # noqa: PLC0415
    from verifier.image.files import read_image  # noqa: PLC0415
    from verifier.image.measurement import measure_image, to_json  # noqa: PLC0415
    from verifier.machine.shape import parse_vm_config  # noqa: PLC0415

    shape = None if machine is None else parse_vm_config(read_file(machine), str(machine))
    if (image is None) == (not fetch):
        raise UsageError("name an image, or one to download with --fetch")
    if image is not None:
        require_file(image)
    files = read_image(image) if image is not None else _fetched(fetch, mirror)
    document = to_json(measure_image(files, shape), shape)
    _print(document, shape)
    if output is not None:
        raw = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        write(raw.encode("utf-8"), output, "the measurement")


def _fetched(wanted: str, mirror: str) -> "ImageFiles":
    """The files of a release that the user's cache has, or that are downloaded into it; what does
    not have the hash that was asked for is thrown away."""
    from verifier.api import fetch_image  # noqa: PLC0415
    from verifier.cli.clock import now  # noqa: PLC0415
    from verifier.cli.question import plain_url  # noqa: PLC0415
    from verifier.image.files import read_image  # noqa: PLC0415

    wanted_hash = _hash_of(wanted)
    base = plain_url(mirror, "--mirror") if mirror else ""
    path = fetch_image(wanted_hash, base, now, _told)
    try:
        files = read_image(path)
        wrong = "" if files.os_image_hash == wanted_hash else f"its hash is {files.os_image_hash}"
    except EvidenceError as error:
        wrong = error.message
    if wrong:
        path.unlink(missing_ok=True)
        raise EvidenceError(
            f"what was downloaded is not the image {wanted_hash}: {wrong}",
            hint="it was thrown away: try again, or download the release yourself",
        )
    return files


def _hash_of(wanted: str) -> str:
    """The hash (hex) of a release that the reference values know, or the hash that was given."""
    from verifier.reference.values import embedded  # noqa: PLC0415

    text = wanted.lower().removeprefix("sha256:").removeprefix("0x")
    if _HASH.fullmatch(text):
        return text
    known = {row.release: row.os_image_hash for row in embedded().os_images if row.os_image_hash}
    if wanted not in known:
        raise UsageError(
            f"--fetch {wanted!a} is neither a hash (64 hex digits) nor a release that is known",
            hint=did_you_mean(wanted, known, f"known are {', '.join(sorted(filter(None, known)))}"),
        )
    return known[wanted]


def _told(received: int, total: int) -> None:
    progress(f"{received >> 20} of {total >> 20} MiB")


def _print(document: JsonObject, shape: "MachineShape | None") -> None:
    def row(name: str, value: object) -> None:
        print_row(f"{name:18} ", str(value))

    row("release", f"{document['release']} ({document['kind']}), by its own metadata")
    row("os_image_hash", document["os_image_hash"])
    row("known as", _known_as(document))
    row("MRTD two passes", document["mrtd_two_pass"])
    row("MRTD single pass", document["mrtd_single_pass"])
    kernels = document["rtmr1"]
    for item in kernels if isinstance(kernels, list) else ():
        if isinstance(item, dict):
            row("RTMR1", item["rtmr1"])
            row("", f"kernel {item['kernel']}; memory {item['memory']}")
    row("RTMR2", document["rtmr2"])
    found = document.get("machine")
    if shape is None or not isinstance(found, dict):
        return
    print()
    version = ".".join(map(str, shape.qemu))
    row("machine", f"{shape.cpus} vCPU, {shape.memory >> 20} MiB, QEMU {version}")
    row("MRTD", found["mrtd"])
    row("RTMR0", found["rtmr0"])
    events = found["rtmr0_events"]
    for item in events if isinstance(events, list) else ():
        if isinstance(item, dict):
            print_row(f"  {item['event']:20} ", str(item["digest"]))


def _known_as(document: JsonObject) -> str:
    """What the reference values of this auditor call an image of this hash."""
    from verifier.reference.values import embedded  # noqa: PLC0415

    rows = [row for row in embedded().os_images if row.os_image_hash == document["os_image_hash"]]
    names = sorted({f"dstack {row.release} ({row.kind}, {row.origin})" for row in rows})
    return ", ".join(names) or "no image that this auditor knows: only its own list names it"
