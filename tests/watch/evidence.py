"""One simulated app's evidence, copied: what fleets are tried on."""

from pathlib import Path

from msgspec import Struct

from verifier.api import Question, Sources, collect_evidence
from verifier.cli.question import simulated_question
from verifier.evidence import bundle as bundles
from verifier.evidence.bundle import Bundle
from verifier.lab.world import World, build
from verifier.model.identifiers import AppId
from verifier.policy.policy import load_policy
from verifier.watch.fleet.job import Asked, Job


class Simulated(Struct, frozen=True):
    """A simulated world, the question about its app, and the evidence."""

    world: World
    question: Question
    evidence: Bundle

    @property
    def asked(self) -> Asked:
        """What is asked of every copy, whose collector is vouched for."""
        vouched = frozenset({self.evidence.digest})
        policy = load_policy("baseline")
        return Asked(question=self.question, policy=policy, vouched=vouched, reports=True)

    def copies(self, folder: Path, count: int) -> list[Job]:
        """So many copies of the evidence, as jobs."""
        raw, found = bundles.to_tar(self.evidence), []
        app_id = AppId(self.world.app_id)
        for number in range(count):
            path = folder / f"{number}.tar"
            path.write_bytes(raw)
            named = f"{app_id}@{path}"
            found.append(Job(text=named, name=str(number), app_id=app_id, path=str(path)))
        return found


def simulate() -> Simulated:
    """The honest world of the demo."""
    world = build()
    question = simulated_question(world.app_id, world.reference(), world.now)
    sources = Sources(responder=world.respond, cloud=False)
    return Simulated(world, question, collect_evidence(question, sources, lambda: world.now))
