"""MRTD and RTMR0-2 → the OS image that booted, and the machine. Only a known OS gives RTMR3 its
meaning."""

from typing import Final

from verifier.checks.boot import image as _image
from verifier.checks.boot import machine as _machine
from verifier.checks.engine import CheckSpec

image: Final[CheckSpec] = _image.image
CHECKS: Final[tuple[CheckSpec, ...]] = (*_image.CHECKS, *_machine.CHECKS)
