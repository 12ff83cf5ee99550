"""The platform for which a service wants its image: of an index, another one gets another image."""

import pytest

from tests.manifest.vectors import app
from verifier.manifest.image import other_platform
from verifier.manifest.read import read_manifest


@pytest.mark.parametrize(
    ("body", "allowed", "platform"),
    [
        ("", [], ""),
        ("platform: linux/amd64", [], ""),
        ("platform: Linux/x86_64/v1", [], ""),
        ("platform: amd64", [], ""),
        ("platform: linux", [], ""),
        ("platform: ${ABSENT}", [], ""),
        ("platform: ${ABSENT:-linux/386}", [], "linux/386"),
        ("platform: linux/386", [], "linux/386"),
        ("platform: 386", [], "386"),
        ("platform: linux/amd64/v3", [], "linux/amd64/v3"),
        ("platform: linux/amd64/v1/x", [], "linux/amd64/v1/x"),
        ("platform: ${CHOSEN:-linux/amd64}", ["CHOSEN"], "${CHOSEN:-linux/amd64}"),
        ("", ["DOCKER_DEFAULT_PLATFORM"], "${DOCKER_DEFAULT_PLATFORM}"),
        ("platform: ${ABSENT}", ["DOCKER_DEFAULT_PLATFORM"], "${DOCKER_DEFAULT_PLATFORM}"),
        ("platform: linux/amd64", ["DOCKER_DEFAULT_PLATFORM"], ""),
    ],
)
def test_the_platform_that_a_service_wants(body: str, allowed: list[str], platform: str) -> None:
    found = read_manifest(app(body, allowed_envs=allowed).raw)
    assert other_platform(found, found.services[0]) == platform
