"""`verify log check`, `verify log show`: what a watch observed, and whether it was changed."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from verifier.cli.options import command
from verifier.cli.output import EXIT_CODES
from verifier.cli.streams import print_row, warn
from verifier.errors import EvidenceError
from verifier.model.result import Verdict

if TYPE_CHECKING:
    from verifier.watch.log.check import LogCheck
    from verifier.watch.log.notes import VerifierKey

LogKey = Annotated[
    str,
    typer.Option(
        "--log-key",
        metavar="KEY",
        help="The verifier key of the log, NAME+HASH+KEY, or a file with it.",
    ),
]
_MISSING: Final = EXIT_CODES[Verdict.NONE]
_WRONG: Final = EXIT_CODES[Verdict.CONTRAINDICATED]


class LogAction(StrEnum):
    """What to do with the log."""

    CHECK = "check"
    SHOW = "show"


@command
def read_log(
    *,
    action: Annotated[
        LogAction, typer.Argument(metavar="check|show", help="Check it, or show its entries.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The log, or a copy of it.")],
    log_key: LogKey = "",
    since: Annotated[
        list[Path] | None,
        typer.Option(metavar="CHECKPOINT", help="A checkpoint that was kept before (repeatable)."),
    ] = None,
    first: Annotated[
        int, typer.Option(metavar="INDEX", min=0, help="Show from this entry on.")
    ] = 0,
    proofs: Annotated[
        bool, typer.Option("--proofs", help="Show each entry's proof of inclusion, too.")
    ] = False,
) -> None:
    """Check a witness log against what its key signed, or show what was observed.

    Every entry and hash is held against the signed checkpoint, and this against checkpoints that
    were kept before, of which the log has to be the continuation. What was done to a log that is
    torn, truncated, rewritten, rolled back or forked is named. Entries are shown as JSON lines, and
    only those of a log that is whole.

    Examples:

      verify log check watch-log --log-key log.vkey

      verify log check watch-log --since checkpoint-of-monday

      verify log show watch-log --proofs

    Exit codes: 0 whole, 2 usage, 3 no log, 4 torn, truncated, rewritten, rolled back, forked, or
    signed by another key.
    """
    from verifier.cli.files import read_file  # noqa: PLC0415
    from verifier.errors import UsageError  # noqa: PLC0415
    from verifier.watch.log.check import check_log  # noqa: PLC0415

    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such directory", hint="name the log's directory")
    key, named = verifier_key(folder, log_key)
    try:
        found = check_log(folder, key, [read_file(path) for path in since or ()])
    except EvidenceError as error:
        raise UsageError(f"--since: {error.message}", hint=error.hint) from error
    _refuse_faults(found)
    if action is LogAction.SHOW:
        for line in _shown(folder, found, first, proofs):
            print(line)
        return
    _say_whole(found, key, named=named)


def verifier_key(folder: Path, named: str) -> "tuple[VerifierKey, bool]":
    """The key of a log, as text or in a file, and whether the user named it; where not, the one
    that lies beside it. Raises UsageError."""
    from verifier.cli.files import read_file  # noqa: PLC0415
    from verifier.errors import UsageError  # noqa: PLC0415
    from verifier.watch.log.notes import parse_verifier_key  # noqa: PLC0415
    from verifier.watch.log.writer import VERIFIER_KEY  # noqa: PLC0415

    beside = folder / VERIFIER_KEY
    if not named and not beside.is_file():
        raise UsageError(
            f"{folder}: no key of a log lies here", hint="name it with --log-key NAME+HASH+KEY"
        )
    text = named if "+" in named else read_file(Path(named or beside)).decode("utf-8", "replace")
    return parse_verifier_key(text), bool(named)


def _refuse_faults(found: "LogCheck") -> None:
    """Name what is wrong with a log, and end. Nothing of a log that is not whole is shown."""
    from verifier.watch.log.check import MEANINGS, Fault  # noqa: PLC0415

    if not found.faults:
        return
    for item in found.faults:
        warn(f"{item.fault.value}: {item.words}", MEANINGS[item.fault])
    missing = {item.fault for item in found.faults} == {Fault.MISSING}
    raise typer.Exit(_MISSING if missing else _WRONG)


def _say_whole(found: "LogCheck", key: "VerifierKey", *, named: bool) -> None:
    checkpoint = found.checkpoint
    if checkpoint is None:
        return
    print_row("whole    ", f"{found.entries} entries give the signed root {checkpoint.root.hex()}")
    for size in found.proven:
        print_row("goes on  ", f"from the checkpoint of {size} entries, by a consistency proof")
    print_row("signed   ", f"by {key}")
    if not named:
        print_row("         ", "This key lies beside the log: whoever replaced the whole log has")
        print_row("         ", "replaced it, too. Name the one you know with --log-key.")


def _shown(folder: Path, found: "LogCheck", first: int, proofs: bool) -> Iterator[str]:
    import json  # noqa: PLC0415

    from verifier.evidence.codec import parse_json  # noqa: PLC0415
    from verifier.watch.log.merkle import inclusion_proof, leaf_hash  # noqa: PLC0415
    from verifier.watch.log.reader import LogReader  # noqa: PLC0415

    checkpoint = found.checkpoint
    if checkpoint is None:
        return
    reader = LogReader(folder, checkpoint.size)
    for index, raw in enumerate(reader.entries(first), first):
        row: dict[str, Any] = {"index": index, "leaf": leaf_hash(raw).hex()}
        row["entry"] = parse_json(raw, f"entry {index}")
        if proofs:
            path = inclusion_proof(index, checkpoint.size, reader.whole)
            row["proof"] = [item.hex() for item in path]
            row["size"], row["root"] = checkpoint.size, checkpoint.root.hex()
        yield json.dumps(row, separators=(",", ":"))
