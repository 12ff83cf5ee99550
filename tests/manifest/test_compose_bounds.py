"""Compose files that ask for much work: bounded time, and a finding for what is not followed."""

import itertools
import sys
import time

import pytest

from verifier.manifest.audit import audit_compose_file

SECONDS = 15.0
"""Far more than any of these takes; what grows with the square takes minutes."""

MANY = 600
SERVICES = "services:\n"
IMAGE = f"image: a@sha256:{'3b' * 32}"


def services(line: str, number: int = MANY) -> str:
    return SERVICES + "".join(
        f"  s{n}: {{{line.format(n=n, next=n + 1, before=max(n - 1, 0))}}}\n" for n in range(number)
    )


WORK = {
    "a chain of extends": services("image: a, extends: s{next}, environment: ['A{n}=1']")
    + f"  s{MANY}: {{image: a}}\n",
    "many extend one": SERVICES
    + f"  s: {{image: a, environment: [{','.join(f'A{n}=1' for n in range(200))}]}}\n"
    + "".join(f"  t{n}: {{extends: s}}\n" for n in range(MANY)),
    "a circle of extends": services("image: a, extends: s{next}") + f"  s{MANY}: {{extends: s0}}\n",
    "a circle of dependencies": services("image: a, depends_on: [s{next}]")
    + f"  s{MANY}: {{image: a, depends_on: [s0]}}\n",
    "a chain of networks": services("image: a, network_mode: 'service:s{next}'"),
    "many documents": "---\n".join(["services: {a: {image: x}}\n"] * MANY),
    "many ranges of ports": f"{SERVICES}  a: {{image: a, ports: [{'1-65535:1-65535,' * MANY}]}}\n",
    "many variables in a command": f"{SERVICES}  a:\n    image: a\n    command: "
    + " ".join(f"$A{n}" for n in range(20 * MANY))
    + "\n",
    "unknown attributes": f"{SERVICES}  a:\n    image: a\n"
    + "".join(f"    k{n}: 1\n" for n in range(5 * MANY)),
    "secrets from files": f"{SERVICES}  a:\n    image: a\n    secrets: ["
    + ",".join(f"s{n}" for n in range(MANY))
    + "]\nsecrets:\n"
    + "".join(f"  s{n}: {{file: ./s{n}}}\n" for n in range(MANY)),
}
FOLLOWED = {
    *("a chain of networks", "many ranges of ports", "secrets from files"),
    "many variables in a command",
}


@pytest.mark.parametrize("name", sorted(WORK))
def test_it_takes_bounded_time_and_is_not_silent(name: str) -> None:
    started = time.process_time()
    audit = audit_compose_file(WORK[name].encode())
    assert time.process_time() - started < SECONDS
    found = {finding.rule for finding in audit.findings}
    assert audit.compose_problem or found & {"MAN-010", "MAN-011"} or name in FOLLOWED


def test_work_grows_with_the_size() -> None:
    line = IMAGE + ", environment: [A{n}=x, 'B=${{B}}'], volumes: ['./d{n}:/d'], ports: ['80']"
    few, many = (calls(services(line, number).encode()) for number in (50, 400))
    assert many < 9 * few


def calls(raw: bytes) -> int:
    """How many functions are called to judge a file: as good as time, and the same each time."""
    audit_compose_file(raw)
    made = itertools.count()
    sys.setprofile(lambda _frame, event, _arg: next(made) if "call" in event else None)
    try:
        audit_compose_file(raw)
    finally:
        sys.setprofile(None)
    return next(made)


@pytest.mark.parametrize(
    ("text", "rule", "said"),
    [
        ("include: ['https://x.test/a.yaml']\n", "IMG-012", "fetched"),
        ("include: [oci://x.test/a:1]\n", "IMG-012", "fetched"),
        ("services: {a: {image: x, env_file: ../../etc/environment}}\n", "MAN-007", "refers"),
        ("services: {a: {extends: a}}\n", "MAN-011", "itself"),
        ("services: {a: {extends: b, image: x}}\n", "MAN-011", "no service"),
        ("services: {a: {image: x, gpus: [{count: some}]}}\n", "MAN-011", "neither"),
        (
            "services: {a: {image: x, gpus: [{count: 1, device_ids: ['0']}]}}\n",
            "MAN-011",
            "device_ids",
        ),
        (
            "services: {a: {image: x, platform: b, build: {context: ., platforms: [c]}}}\n",
            "MAN-011",
            "platforms",
        ),
        (
            "services: {a: {image: x, develop: {watch: [{path: ./a, action: sync}]}}}\n",
            "MAN-011",
            "target",
        ),
        ("frobnicate: 1\nservices: {a: {image: x}}\n", "MAN-010", "refuses"),
        ("services: {a: {image: x, hostname: {a: b}}}\n", "MAN-011", "mapping"),
        ("services: {a: {image: x, volumes: [undeclared:/a]}}\n", "MAN-011", "undeclared"),
        ("services: {a: {image: x}}\n---\nservices: {a: {user: root}}\n", "MAN-012", "merged"),
        ("services: {a: {image: x, privileged: '${P}'}}\n", "SVC-002", "root"),
    ],
)
def test_what_is_not_as_usual_is_said(text: str, rule: str, said: str) -> None:
    found = [
        finding for finding in audit_compose_file(text.encode()).findings if finding.rule == rule
    ]
    assert any(said in finding.message for finding in found), found
