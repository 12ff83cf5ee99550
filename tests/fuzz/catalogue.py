"""Every target, by its name."""

from collections.abc import Mapping
from typing import Final

from tests.fuzz import (
    of_chains,
    of_guests,
    of_manifests,
    of_names,
    of_own_files,
    of_platforms,
    of_readers_elsewhere,
)
from tests.fuzz.target import Target

TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for wing in (
        *(of_guests, of_manifests, of_platforms, of_chains, of_names, of_own_files),
        of_readers_elsewhere,
    )
    for target in wing.TARGETS
}
