"""The images that the measured manifest names, as Docker Compose would start them."""

from msgspec import Struct

from verifier.checks.case import Case
from verifier.errors import MissingEvidence
from verifier.evidence.compose.app_compose import COMPOSE_RUNNERS, parse_app_compose
from verifier.evidence.readings import Readings
from verifier.manifest.context import Context
from verifier.manifest.image import image_of, other_images, other_platform
from verifier.manifest.read import manifest_of


class NamedImage(Struct, frozen=True):
    """An image as the manifest names it, after interpolation; a variable that only the operator
    decides stays one. "" when a service builds its own, or another file names it. `platform` is the
    one that it is wanted for, as written; "" for linux/amd64, which is Docker's own choice here."""

    service: str
    reference: str
    platform: str = ""


def named_images(case: Case) -> tuple[NamedImage, ...]:
    """The image of each service of the measured manifest, those of its volumes, hooks, build
    contexts and models, and one for each file that it includes.

    Raises MissingEvidence without the manifest or its compose file, EvidenceError when one of them
    cannot be read as Docker reads it.
    """
    return case.once("named images", lambda: _read(case))


def _read(case: Case) -> tuple[NamedImage, ...]:
    row, raw = case.os_image, case.measured_manifest.value
    release = row.release if row else ""
    readings = case.evidence.bundle.readings
    return readings.once((_read, raw, release), lambda: _named(raw, release, readings))


def _named(raw: bytes, release: str, readings: Readings) -> tuple[NamedImage, ...]:
    app = parse_app_compose(raw)
    if app.runner not in COMPOSE_RUNNERS:
        raise MissingEvidence(
            f"the runner {app.runner!a} reads no compose file: which images it starts is not known"
        )
    if not (app.compose or "").strip():
        raise MissingEvidence("the manifest holds no compose file, or hides it")
    manifest = manifest_of(app, Context(os_version=release), readings)
    if manifest.error is not None:
        raise manifest.error
    named = [
        NamedImage(
            item.name,
            "" if item.builds else image_of(manifest, item).reference,
            other_platform(manifest, item),
        )
        for item in manifest.services
    ]
    named += [
        NamedImage(f"{item.role} {item.service}".strip(), item.image.reference)
        for item in other_images(manifest)
    ]
    named += [NamedImage(f"include {item.text}", "") for item in manifest.includes]
    return tuple(named)
