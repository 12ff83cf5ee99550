"""The compose file: services, images, variables, ports, volumes."""

import pytest

from tests.manifest.diff.manifests import COMPOSE, D1, D2, at, composes, difference, verdict
from verifier.model.result import Severity

IMAGE = "/services/app/image"


def image(reference: str) -> str:
    return COMPOSE.replace(f"acme/app:1.0.0@{D1}", reference)


@pytest.mark.parametrize(
    ("old", "new", "expected", "back"),
    [
        (f"a/b@{D1}", "a/b:latest", ("DIF-002", "high"), ("DIF-001", "info")),
        (f"a/b@{D1}", "a/b", ("DIF-002", "high"), ("DIF-001", "info")),
        ("a/b:1.2.3", "a/b:latest", ("DIF-002", "high"), ("DIF-001", "info")),
        (f"a/b@{D1}", "a/b:${TAG}", ("DIF-002", "critical"), ("DIF-001", "info")),
        (f"a/b@{D1}", f"a/b@{D2}", ("DIF-003", "medium"), ("DIF-003", "medium")),
        (f"a/b:1@{D1}", f"a/b:1@{D2}", ("DIF-003", "medium"), ("DIF-003", "medium")),
        (f"a/b:latest@{D1}", f"a/b:main@{D2}", ("DIF-003", "medium"), ("DIF-003", "medium")),
        (f"a/b:1@{D1}", f"a/b:2@{D2}", ("DIF-001", "info"), ("DIF-001", "info")),
        (f"a/b:1@{D1}", f"a/b:2@{D1}", ("DIF-001", "info"), ("DIF-001", "info")),
        (f"a/b@{D1}", f"evil/b@{D1}", ("DIF-003", "medium"), ("DIF-003", "medium")),
        ("a/b:1.2.3", "a/b:1.2.4", ("DIF-001", "low"), ("DIF-001", "low")),
    ],
)
def test_images(old: str, new: str, expected: tuple[str, str], back: tuple[str, str]) -> None:
    allowed = {"allowed_envs": ["TAG"]}
    assert verdict(at(composes(image(old), image(new), **allowed), IMAGE)) == expected
    assert verdict(at(composes(image(new), image(old), **allowed), IMAGE)) == back


def test_a_commit_in_the_environment_is_a_claimed_source() -> None:
    old = image(f"a/b@{D1}").replace("LEVEL=info", "GIT_SHA=aaaaaaa")
    new = image(f"a/b@{D2}").replace("LEVEL=info", "GIT_SHA=bbbbbbb")
    assert verdict(at(composes(old, new), IMAGE)) == ("DIF-001", "info")
    stale = new.replace("bbbbbbb", "aaaaaaa")
    assert verdict(at(composes(old, stale), IMAGE)) == ("DIF-003", "medium")


def test_the_same_reference_is_no_change() -> None:
    assert not composes(image("a/b:latest"), image("a/b:latest")).changes


def test_a_literal_that_the_operator_sets_now() -> None:
    new = COMPOSE.replace("https://api.acme.example", "${API_URL:-https://api.acme.example}")
    found = composes(COMPOSE, new, allowed_envs=["API_URL"])
    assert verdict(at(found, "/services/app/environment/1")) == ("DIF-002", "critical")
    back = composes(new, COMPOSE, allowed_envs=["API_URL"])
    assert verdict(at(back, "/services/app/environment/1")) == ("DIF-001", "info")
    nobody = composes(COMPOSE, new)
    assert verdict(at(nobody, "/services/app/environment/1")) == ("DIF-001", "info")


def test_a_setting_that_the_operator_sets_now_is_no_regression() -> None:
    new = COMPOSE.replace("LEVEL=info", "LEVEL=${RETRY_LIMIT:-3}")
    found = composes(COMPOSE, new, allowed_envs=["RETRY_LIMIT"])
    assert verdict(at(found, "/services/app/environment/0")) == ("DIF-001", "low")


def test_a_command_that_the_operator_completes_now() -> None:
    old = COMPOSE.replace("    ports:", "    command: serve --quiet\n    ports:")
    new = old.replace("serve --quiet", "serve ${EXTRA_ARGS}")
    found = composes(old, new, allowed_envs=["EXTRA_ARGS"])
    assert at(found, "/services/app/command").rule == "DIF-002"
    plain = composes(old, old.replace("quiet", "loud"))
    assert verdict(at(plain, "/services/app/command")) == ("DIF-001", "low")


def test_a_finding_comes_with_its_change() -> None:
    new = COMPOSE.replace("data:/data", "/var/run/docker.sock:/var/run/docker.sock")
    change = at(composes(COMPOSE, new), "/services/app/volumes/0")
    assert change.rule in {"DIF-001", "DIF-002"}
    assert "SVC-001" in change.findings
    assert change.severity.value in {"medium", "high"}


def test_privileged() -> None:
    new = COMPOSE.replace("    ports:", "    privileged: true\n    ports:")
    change = at(composes(COMPOSE, new), "/services/app/privileged")
    assert (change.severity.value, change.findings) == ("medium", ("SVC-002",))
    assert at(composes(new, COMPOSE), "/services/app/privileged").severity.value == "low"


def test_a_published_port() -> None:
    new = COMPOSE.replace('- "8080:8080"', '- "8080:8080"\n      - "9000:9000"')
    assert verdict(at(composes(COMPOSE, new), "/services/app/ports/1")) == ("DIF-001", "low")
    assert verdict(at(composes(new, COMPOSE), "/services/app/ports/1")) == ("DIF-001", "info")


def test_comments_and_white_space_are_no_change() -> None:
    (change,) = composes(
        COMPOSE, "# a note\n" + COMPOSE.replace("  data: {}", "  data:   {}")
    ).changes
    assert verdict(change) == ("DIF-001", "info")


def test_a_mapping_is_a_list_of_variables() -> None:
    old = COMPOSE.replace(
        "      - LEVEL=info\n      - API_URL=https://api.acme.example\n",
        "      LEVEL: info\n      API_URL: https://api.acme.example\n",
    )
    assert not composes(old, COMPOSE).at_least(Severity.LOW)


def test_a_renamed_service() -> None:
    found = composes(COMPOSE, COMPOSE.replace("  app:", "  web:").replace(D1, D2))
    assert at(found, "/services/web").before == "app"
    assert at(found, "/services/web/image").rule == "DIF-003"


def test_new_and_gone_services() -> None:
    new = COMPOSE.replace("services:", f"services:\n  side:\n    image: x/side@{D2}", 1)
    assert verdict(at(composes(COMPOSE, new), "/services/side")) == ("DIF-001", "low")
    assert verdict(at(composes(new, COMPOSE), "/services/side")) == ("DIF-001", "info")


def test_merge_keys_are_resolved() -> None:
    merged = COMPOSE.replace(
        "services:\n  app:\n",
        "x-base: &base\n  restart: always\nservices:\n  app:\n    <<: *base\n",
    )
    direct = COMPOSE.replace("  app:\n", "  app:\n    restart: always\n")
    assert not composes(merged, direct).at_least(Severity.LOW)


def test_an_odd_form_is_not_passed_over() -> None:
    new = COMPOSE.replace('    ports:\n      - "8080:8080"\n', "    ports: ${PORTS}\n")
    assert at(composes(COMPOSE, new), "/services/app/ports").severity.value == "medium"


@pytest.mark.parametrize(
    ("old", "new", "place", "severity"),
    [
        ("  data: {}", "  data: {}\nnetworks: {n: {}}", "/networks/n", "info"),
        ("services:", "services:\n  odd: text", "/services/odd", "medium"),
        ("services:", "services:\n  odd:", "/services/odd", "medium"),
        ('- "8080:8080"', "- {target: 8080, published: 8080, mode: host}", None, "medium"),
        ("- data:/data", "- {source: data, target: /data, type: volume}", None, "medium"),
        ("- LEVEL=info", "- [LEVEL]", None, "info"),
        ('- "8080:8080"', '- "${PORT}:8080"', "/services/app/ports/0", "high"),
    ],
)
def test_nothing_that_differs_is_passed_over(
    old: str, new: str, place: str | None, severity: str
) -> None:
    found = composes(COMPOSE, COMPOSE.replace(old, new, 1), allowed_envs=["PORT"])
    assert found.changes
    assert not any("other bytes" in change.meaning for change in found.changes)
    if place:
        assert at(found, place).severity.value == severity


def test_a_default_that_changes_under_the_same_variable() -> None:
    old = COMPOSE.replace('"8080:8080"', '"${A}:8080"')
    found = composes(old, old.replace("${A}", "${B}"))
    assert at(found, "/services/app/ports/0").after == "${B}:8080"


def test_the_order_of_variables_is_said_and_harmless() -> None:
    lines = "      - LEVEL=info\n", "      - API_URL=https://api.acme.example\n"
    (change,) = composes(COMPOSE, COMPOSE.replace("".join(lines), "".join(lines[::-1]))).changes
    assert verdict(change) == ("DIF-001", "info")


def test_an_unreadable_compose_file_is_not_clean() -> None:
    found = composes(COMPOSE, "services: [")
    assert found.not_evaluable
    masked = difference({}, {"docker_compose_file": "[MASKED]"})
    assert masked.not_evaluable
    assert not masked.same_release


def test_a_dead_compose_file() -> None:
    bash = {"runner": "bash", "bash_script": "run"}
    found = difference(bash, {**bash, "docker_compose_file": "services: {}"})
    assert at(found, "/docker_compose_file").severity.value == "low"
    assert not found.not_evaluable
