"""What this auditor says of a vector, and how any verifier's answers compare with what is right."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from verifier.api import Audit
from verifier.checks.case import Question
from verifier.conformance.corpus import LINKS, Vector
from verifier.errors import EvidenceError
from verifier.evidence.import_files import import_files
from verifier.model.report import SubjectReport
from verifier.model.result import SkipKind, Status
from verifier.policy.policy import load_policy


class Said(StrEnum):
    """What a verifier says of a vector."""

    ACCEPT = "accept"
    REJECT = "reject"
    UNSUPPORTED = "unsupported"
    """It does not look at what this vector is about."""
    BROKEN = "broken"
    """No answer: it crashed, hung, took too much memory, or said something else."""


class Answered(Struct, frozen=True):
    """What a verifier said of one vector, and how it came to that where it was no answer."""

    vector: Vector
    said: Said
    problem: str = ""

    @property
    def right(self) -> bool:
        """Whether it said what is expected."""
        return self.said.value == self.vector.expected

    @property
    def false_accept(self) -> bool:
        """Whether it accepted what is forged."""
        return self.said is Said.ACCEPT and self.vector.expected == "reject"


class Count(Struct, frozen=True, kw_only=True):
    """The answers to the vectors of one link.

    vectors        all of them
    right          what was expected
    false_accepts  forged evidence that was accepted
    false_rejects  honest evidence that was rejected
    unsupported    what the verifier does not look at
    broken         no answer
    """

    vectors: int
    right: int
    false_accepts: int
    false_rejects: int
    unsupported: int
    broken: int


def count(answers: Iterable[Answered]) -> Mapping[str, Count]:
    """The answers by link, in the order of the chain."""
    by_link: dict[str, list[Answered]] = {}
    for item in answers:
        by_link.setdefault(item.vector.link, []).append(item)
    return {link: _count(by_link[link]) for link in LINKS if link in by_link}


def _count(answers: list[Answered]) -> Count:
    return Count(
        vectors=len(answers),
        right=sum(item.right for item in answers),
        false_accepts=sum(item.false_accept for item in answers),
        false_rejects=sum(
            item.said is Said.REJECT and item.vector.expected == "accept" for item in answers
        ),
        unsupported=sum(item.said is Said.UNSUPPORTED for item in answers),
        broken=sum(item.said is Said.BROKEN for item in answers),
    )


def judge(vector: Vector) -> Answered:
    """What this auditor says: it accepts where every check of the link, and of those before it,
    that applies is usable. Evidence that cannot be read is rejected. Raises EvidenceError where the
    vector is not what it was."""
    files = vector.files()
    try:
        bundle = import_files(files, collected_at=vector.at)
    except EvidenceError as error:
        return Answered(vector, Said.REJECT, error.message)
    question = Question(
        app_id=vector.app_id,
        reference=vector.values(),
        at=vector.at,
        trusted=False,
    )
    report = Audit(target=vector.app_id, question=question, bundle=bundle).report(
        load_policy(vector.policy)
    )
    refused = {name: why for subject in report.subjects for name, why in _refused(subject, vector)}
    said = Said.REJECT if refused else Said.ACCEPT
    return Answered(vector, said, "; ".join(f"{name}: {why}" for name, why in refused.items()))


def _refused(subject: SubjectReport, vector: Vector) -> Iterable[tuple[str, str]]:
    links = list(LINKS)
    decided = {
        check for link in links[: links.index(vector.link) + 1] for check in LINKS[link].decided
    }
    for item in subject.checks:
        usable = item.status in (Status.PASS, Status.WARN)
        if item.id in decided and not usable and item.skip_kind is not SkipKind.NOT_APPLICABLE:
            yield item.id, item.reason or item.summary
