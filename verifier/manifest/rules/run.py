"""RUN: what runs, beside what the manifest declares."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from verifier.manifest.model import Manifest
from verifier.manifest.rule import Hit, Need, at_top, on_service, rule
from verifier.model.result import Severity
from verifier.patterns import pattern

_FAILED: Final = pattern(r"Restarting|Exited \((?!0\))")


@rule(
    "RUN-001",
    Severity.HIGH,
    "A container runs that the manifest does not declare",
    why="Something with the Docker socket started more code.",
    fix="Remove the launcher.",
    source="dstack guest-agent/src/http_routes.rs",
    needs=(Need.PAGE, Need.COMPOSE),
)
def undeclared_container(manifest: Manifest) -> Iterator[Hit]:
    """The page names a container that is no service of the compose file."""
    declared = set(_declared(manifest))
    for name in manifest.context.containers:
        stem = re.sub(r"-\d+$", "", name.strip("/"))
        if name.strip("/") not in declared and stem not in declared:
            yield at_top(f"{name!a} is not in the manifest")


def _declared(manifest: Manifest) -> Iterator[str]:
    for service in manifest.services:
        named = service.text("container_name")
        if named:
            yield named.unset
        yield from (f"{project}-{service.name}" for project in ("dstack", "tapp"))


@rule(
    "RUN-002",
    Severity.MEDIUM,
    "A declared service does not run",
    why="A guard that was reviewed may be absent.",
    fix="Deploy again.",
    source="dstack guest-agent/src/http_routes.rs",
    needs=(Need.PAGE, Need.COMPOSE),
)
def missing_service(manifest: Manifest) -> Iterator[Hit]:
    """A service is not on a page, restarts again and again, or ended with an error: on any page,
    and in any of its containers."""
    pages = [_states(page) for page in manifest.context.pages]
    for service in manifest.services:
        named = service.text("container_name")
        names = [
            *([named.unset] if named else []),
            f"dstack-{service.name}",
            f"tapp-{service.name}",
        ]
        found = [next((page[name] for name in names if name in page), None) for page in pages]
        failed = sorted(
            state for states in found for state in states or () if _FAILED.search(state)
        )
        if failed or None in found:
            yield on_service(service, f"{service.name} is {[*failed, 'not there'][0]}")


def _states(page: Mapping[str, str]) -> dict[str, list[str]]:
    """The states of the containers that a page lists under a name, with or without the number that
    Compose gives each."""
    stems: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for name, state in page.items():
        names.setdefault(name.strip("/"), []).append(state)
        stems.setdefault(re.sub(r"-\d+$", "", name.strip("/")), []).append(state)
    return stems | names


@rule(
    "RUN-003",
    Severity.MEDIUM,
    "The app says that it is another version",
    why="A stale or foreign process answers.",
    fix="Find out which one answers.",
    source="case study of hermes",
    needs=(Need.ENDPOINT,),
)
def another_version(_: Manifest) -> Iterator[Hit]:
    """The version, commit or digest that the app reports differs from the manifest's literal."""
    return iter(())


@rule(
    "RUN-004",
    Severity.LOW,
    "A tag has moved",
    why="It shows that the code behind the manifest changes.",
    fix="Name the image by digest.",
    source="OCI distribution specification",
    needs=(Need.COMPOSE, Need.TAGS),
)
def moved_tag(_: Manifest) -> Iterator[Hit]:
    """The registry's digest of a tag differs from the first one that was seen. A digest cannot
    move: without images that only a tag names there is nothing to watch."""
    return iter(())


RULES: Final = (undeclared_container, missing_service, another_version, moved_tag)
