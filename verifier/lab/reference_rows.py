"""Rows of the reference values of a simulated world that follow from its images and roots."""

import base64
from typing import Final

from verifier.evidence.certificates import spki_digest
from verifier.lab import snp
from verifier.lab.events import FIRMWARE, OsImage, replay
from verifier.lab.gpu import trust_anchors
from verifier.lab.pki import der
from verifier.machine.firmware import witness_of
from verifier.reference import values

SOURCE: Final = "simulated world"


def image_row(label: str, date: str) -> values.OsImage:
    """The row of an OS image by its label."""
    image = OsImage(label)
    _, rtmr1, rtmr2, _ = replay(image.boot_events())
    return values.OsImage(
        os_image_hash=image.os_image_hash.hex(),
        release=f"lab {label}",
        kind=label,
        origin=values.Origin.REBUILT,
        mrtd=image.mrtd.hex(),
        rtmr1=rtmr1.hex(),
        rtmr2=rtmr2.hex(),
        source=SOURCE,
        date=date,
    )


def anchor_rows(date: str) -> list[values.TrustAnchor]:
    """The trust anchors of other devices than TDX."""
    return [
        values.TrustAnchor(
            use=use,
            spki=spki_digest(root),
            certificate=base64.b64encode(der(root)).decode(),
            source=SOURCE,
            date=date,
        )
        for use, root in {**trust_anchors(), "amd-snp": snp.trust_anchor()}.items()
    ]


def firmware_row(date: str) -> values.Firmware:
    """The row of the firmware that every image has."""
    return values.Firmware(
        name="lab firmware",
        mrtd=tuple(OsImage(label).mrtd.hex() for label in ("production", "development")),
        witness=witness_of(FIRMWARE).hex(),
        volume=FIRMWARE.volume.hex(),
        source=SOURCE,
        date=date,
    )
