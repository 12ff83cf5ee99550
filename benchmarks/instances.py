"""Ten instances live, beside one: `make instances` writes instances.md beside this file.

Both worlds answer each request after the same delay, each from a process of its own, and are
audited in turn, so that a busy machine slows both.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.run import HERE, ROUND_TRIP, Row, paired, render
from verifier.audit import audit_bundle
from verifier.cli.question import simulated_question
from verifier.collection import Sources, collect_evidence
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build
from verifier.policy.policy import load_policy

MANY = 10
RUNS = 7
BUDGET = 1.5
SERVER = """
import json, sys
from benchmarks.instances import world_of
from verifier.lab.serve import serve
with serve(world_of(int(sys.argv[2])).respond, delay=float(sys.argv[1])) as served:
    print(json.dumps(dict(served.routes)), flush=True)
    sys.stdin.read()
"""


def world_of(number: int) -> World:
    """An app of so many equal instances, to which its gateway leads in turn."""
    others = (Knobs(),) * (number - 1)
    return build(Knobs(others=others, spread=lambda call: call % number))


@contextmanager
def served(number: int) -> Iterator[Sources]:
    """Such a world, served by another process until the block ends."""
    arguments = (sys.executable, "-c", SERVER, str(ROUND_TRIP), str(number))
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=HERE.parent
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        routes = json.loads(server.stdout.readline())
        yield Sources(
            routes={host: (address, port) for host, (address, port) in routes.items()}, cloud=False
        )
        server.stdin.close()


def audit(world: World, sources: Sources, number: int) -> None:
    """From the first request to the verdict; every instance has to be met and to hold."""
    question = simulated_question(world.app_id, world.reference(), world.now)
    bundle = collect_evidence(question, sources, lambda: world.now)
    report = audit_bundle(bundle, world.app_id, question, load_policy("baseline"))
    assert report.accepted
    assert len(report.subjects) == number


def rows() -> Iterator[Row]:
    """The whole comparison."""
    many, one = world_of(MANY), world_of(1)
    with served(MANY) as of_many, served(1) as of_one:
        ours, least = paired(
            lambda: audit(many, of_many, MANY), lambda: audit(one, of_one, 1), RUNS
        )
    yield Row(
        what=f"{MANY} instances live at {ROUND_TRIP * 1000:.0f} ms a response / one instance",
        ours=ours,
        least=least,
        budget=BUDGET,
    )


def main() -> None:
    text = render(list(rows())).replace("# Benchmarks", "# Every instance of an app", 1)
    (HERE / "instances.md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
