"""A policy that names the registries of images, and an image that a script starts."""

from collections.abc import Callable
from typing import Final

import pytest

from tests.worlds.audited import audit
from tests.worlds.outcomes import assert_noticed, assert_stands
from verifier.checks.provenance.script_images import images_of_script
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import Knobs

POLICY: Final = '[images]\nregistries = ["registry.lab.invalid"]'
IMAGE: Final = f"evil.example/x@sha256:{'1' * 64}"
CHECKS: Final = ("manifest.rules", "provenance.images")

Edit = Callable[[JsonObject], JsonObject]


def setting(**fields: str) -> Edit:
    """A manifest with more fields."""
    return lambda manifest: {**manifest, **fields}


def bash_alone(manifest: JsonObject) -> JsonObject:
    """A manifest that runs a script in place of a compose file."""
    kept = {name: value for name, value in manifest.items() if name != "docker_compose_file"}
    return {**kept, "runner": "bash", "bash_script": f"docker run {IMAGE}"}


def foreign_service(manifest: JsonObject) -> JsonObject:
    """A compose file with an image of a foreign registry."""
    return {**manifest, "docker_compose_file": f"services:\n  web:\n    image: {IMAGE}\n"}


def test_images_of_the_named_registry_are_accepted() -> None:
    assert_stands(audit(Knobs()).under(POLICY), *CHECKS)


OWN: Final = "docker pull registry.lab.invalid/lab/web"


@pytest.mark.parametrize(
    ("script", "found"),
    [(f"{OWN}:1", False), (f"{OWN}:$TAG", True), ("docker pull $IMAGE", True)],
)
def test_a_script_may_get_what_a_service_may_run(script: str, *, found: bool) -> None:
    audited = audit(Knobs(edit_manifest=setting(pre_launch_script=script))).under(POLICY)
    rules = {item.rule for item in audited.report.findings}
    assert ("policy.images" in rules) is found


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(foreign_service, id="service"),
        *(
            pytest.param(setting(pre_launch_script=script), id=script[:12])
            for script in (
                f"docker run -d {IMAGE}",
                f"ctr -n moby run {IMAGE} x",
                f"nerdctl run -d {IMAGE}",
                f"podman run -d {IMAGE}",
            )
        ),
        pytest.param(setting(init_script=f"docker run -d {IMAGE}"), id="init script"),
        pytest.param(setting(init_script="docker run -d evil.example/x"), id="init script, a tag"),
        pytest.param(setting(runner="bash", bash_script=f"docker run {IMAGE}"), id="decoy"),
        pytest.param(bash_alone, id="script alone"),
        pytest.param(setting(runner="podman"), id="unknown runner"),
    ],
)
def test_an_image_of_another_registry(edit: Edit) -> None:
    """Whoever accepts warnings, as every real app needs, accepts none of these."""
    audited = audit(Knobs(edit_manifest=edit)).under(f'accept = ["affirming", "warning"]\n{POLICY}')
    assert_noticed(audited, *CHECKS, refusing=True)
    assert not audited.report.accepted


@pytest.mark.parametrize(
    ("command", "references"),
    [
        ("docker run -d --name x -v /a:/b evil/x allowed/y", ["evil/x"]),
        ("docker run -it --rm evil/x sh", ["evil/x"]),
        ("/usr/bin/docker -H unix:///x container run evil/x", ["evil/x"]),
        ("docker run \\\n  --rm evil/x", ["evil/x"]),
        ('docker run "$IMAGE"', ["$IMAGE"]),
        ("ctr -n moby images pull evil/x && ctr run evil/x a", ["evil/x", "evil/x"]),
        ("D=docker; $D run evil/x", ["evil/x"]),
        ("I=evil/x; docker run $I", ["evil/x"]),
        ("f() { docker run $1; }; f evil/x", ["evil/x"]),
        ("sh -c 'docker run evil/x'", ["evil/x"]),
        ("eval docker run evil/x", ["evil/x", "evil/x"]),
        ("echo ZG9ja2VyIHJ1biBldmlsL3gK | base64 -d | sh", ["evil/x"]),
        ("timeout 60 sudo docker run evil/x", ["evil/x"]),
        ('docker run --name "a allowed/y" evil/x', ["evil/x", "allowed/y"]),
        ("echo evil/x | xargs docker run", [""]),
        ("$TOOL run evil/x", [""]),
        ("docker load -i x.tar", [""]),
        ("docker compose -f /tmp/x.yaml up -d", [""]),
        ("docker-compose up", [""]),
        ("docker build . -t x", [""]),
        ("docker compose pull; docker ps; docker login -u a b; systemctl restart docker", []),
        ("docker-compose; docker compose; docker-compose --verbose", [""]),
        ("docker-compose; docker compose", []),
        ("echo 'docker run $B'", []),
        ("$TOOL up; echo 'docker run $B'", ["", "$B"]),
        ("# docker run evil/x", []),
        ("docker run --cidfile allowed/y evil/x", [""]),
        ("docker run -dl allowed/y evil/x", ["evil/x"]),
        ("docker run -dz allowed/y evil/x", [""]),
        ("docker run -p80:80 --env=A=b evil/x allowed/y", ["evil/x"]),
        ("nerdctl run --snapshotter allowed/y evil/x", [""]),
        ("docker --unknown ps run evil/x", [""]),
        ("podman pull allowed/y evil/x", [""]),
        ("docker${IFS}run${IFS}evil/x", [""]),
        ("docker exec c docker run evil/x", ["evil/x"]),
        ("docker inspect $(docker run evil/x)", ["evil/x"]),
        ("docker stop -t 10 c; docker system prune -af; docker ps --filter name=x", []),
        ("docker compose; docker-compose", []),
        ("echo 'docker run $IMAGE'", []),
        ("$TOOL x; echo 'docker run $IMAGE'", ["", "$IMAGE"]),
        ("cat /var/run/docker.sock", []),
    ],
)
def test_what_a_script_starts(command: str, references: list[str]) -> None:
    assert [item.reference for item in images_of_script(command)] == references
