"""RTMR0 of real guests: the machine that each states, or that was found, and its 13 digests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from verifier.machine.firmware import FirmwareLayout, layout_from_witness

OVMF: Final[FirmwareLayout] = layout_from_witness(
    bytes.fromhex("80100904000609020b021010"),
    bytes.fromhex(
        "344bc51c980ba621aaa00da3ed7436f7d6e549197dfe699515dfa2c6583d95e6"
        "412af21c097d473155875ffd561d6790"
    ),
)
"""The firmware of dstack 0.5: its witness is that of dstack's own measurement documents."""


@dataclass(frozen=True)
class Recorded:
    """One recorded machine."""

    rtmr0: bytes
    stated: bool
    vm_config: dict[str, Any]
    digests: tuple[bytes, ...]


def _recorded() -> list[Recorded]:
    rows = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
    return [
        Recorded(
            bytes.fromhex(row["rtmr0"]),
            row["stated"],
            row["vm_config"],
            tuple(map(bytes.fromhex, row["digests"])),
        )
        for row in rows
    ]


RECORDED: Final = _recorded()
