"""Removing or spoiling a part of the evidence never helps whoever does it.

    no check that failed, erred, was missing, blocked or warned passes (but see `_OF_THE_BOOT`),
    no claim that is believed gets a new value or a stronger basis,
    no verdict becomes `warning` or `affirming` that was worse.

`python -m tests.worlds.monotone` does every damage to every world, in a seeded order, for
`--seconds`, goes on where the last run ended, and writes what it did to benchmarks/monotone.md.
"""

import argparse
import hashlib
import heapq
import itertools
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pool
from pathlib import Path
from typing import Final

from tests.worlds.attacked import carry_out
from tests.worlds.audited import Audited, audit
from tests.worlds.damage import Damage, Json, damaged, damages
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.subject import read_subject
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import EXT_QUOTE
from verifier.lab.attacks import ATTACKS
from verifier.model.identifiers import KEY_HOLDER
from verifier.model.report import Report, SubjectReport
from verifier.model.result import BASIS_ORDER, Basis, Claim, Requirement, SkipKind, Status, Verdict

WORTH: Final = {Verdict.AFFIRMING: 2, Verdict.WARNING: 1}
"""What a verdict lets a relying party do; the others are worth nothing."""

NOBODYS_WORD: Final = {
    "revoked-pck-older-list-beside": {Kind.PCS_PCK_CRL},
    "revoked-platform-ca-older-list-beside": {Kind.PCS_ROOT_CA_CRL},
    "revoked-tcb-signing-older-list-beside": {Kind.PCS_ROOT_CA_CRL},
    "kinder-evaluation-beside": {Kind.PCS_TCB_INFO, Kind.PCS_QE_IDENTITY},
    "quotes-mixed": {Kind.QUOTE},
    "gpu-counted-twice": {Kind.GPU_EVIDENCE},
    "gpu-two-keys-of-one": {Kind.GPU_EVIDENCE},
    "gpu-debug-mode": {Kind.GPU_RIM},
    "gpu-verdict-of-failure": {Kind.GPU_VERDICT, Kind.GPU_VERDICT_KEYS},
    "logged-for-another-key": {Kind.CT_SEARCH},
    "ingress-forged-quote": {Kind.CT_SEARCH},
    "logged-for-the-gateways-names": {Kind.CT_SEARCH},
    "quote-beside-with-debug": {Kind.QUOTE},
    "revoked-pck-list-handed-over": {Kind.PCS_PCK_CRL},
    "page-row-twice": {Kind.PAGE},
    "page-foreign-entity": {Kind.PAGE},
    "page-textarea-elsewhere": {Kind.PAGE},
    "page-two-textareas": {Kind.PAGE},
    "page-raw-markup": {Kind.PAGE},
    "page-utf-16": {Kind.PAGE},
    "gpu-verdict-on-others": {Kind.GPU_VERDICT, Kind.GPU_VERDICT_KEYS},
    "app-key-link": {Kind.SIGNATURE_CHAIN},
    "app-key-kms": {Kind.SIGNATURE_CHAIN},
    "app-key-of-another-app": {Kind.SIGNATURE_CHAIN},
    "app-key-of-another-domain": {Kind.SIGNATURE_CHAIN},
    "proof-of-another-td": {Kind.PROOF},
    "proof-of-another-app": {Kind.PROOF},
    "proof-of-another-branch": {Kind.PROOF},
    "proof-of-another-commit": {Kind.PROOF},
    "proof-of-another-instance": {Kind.PROOF},
    "proof-of-another-kms": {Kind.PROOF},
    "proof-of-another-time": {Kind.PROOF},
    "proof-beside": {Kind.PROOF, Kind.QUOTE},
    "snp-debug": {Kind.PLATFORM_ATTESTATION},
    "snp-foreign-root": {Kind.PLATFORM_ATTESTATION},
    "snp-other-configuration": {Kind.PLATFORM_ATTESTATION},
}
"""Evidence that lies beside other evidence of its kind, by world. Without it, or where its
signature does not hold, the rest is whole and honest: that a newer list exists is then said by
nobody whose word counts, a file that is not handed over cannot be seen, and a malformed page lies
beside a whole answer of `Info`, while guests need not show any page."""

_OF_THE_BOOT: Final = "boot.registers"
"""RTMR0-2 sign the entries of the boot log, and RTMR3 all others. Nobody reads a log with one
malformed entry, since nobody knows of which register that is. Without the entry, those of the boot
are proven by their own registers, whatever is missing elsewhere: `runtime.replay` then fails."""

_OF_A_QUOTE: Final = ("report_data", "rtmr3")
"""Claims that differ between the quotes of one TD: the others are of its boot."""

ONE_FLAG: Final = {"answer-removed": "removed"}
"""Worlds whose lie is one flag, and its name. Its other value is the truth again, and so is an
answer without it, as some nodes give."""

LEGACY: Final = {"env-key-without-time"}
OLDER: Final = {Kind.KMS_ENV_KEY}
"""Worlds in which a second removal leaves what an older, honest release answers, and where."""


def breaches(before: Report, after: Report, whole: Bundle, *, kept_back: bool) -> list[str]:
    """What damage to a bundle made better; empty where it did not help. `kept_back` says that it
    does no more than whoever gives no evidence."""
    found: list[str] = []
    old = {subject.name: subject for subject in before.subjects}
    for subject in after.subjects:
        if subject.name not in old:
            if not _is_of_another_app(subject):
                found.append(f"a new attester, {subject.name}")
            continue
        found += _checks(old[subject.name], subject)
        found += _claims(old[subject.name], subject, whole)
    verdicts = before.verdict, after.verdict
    improved = WORTH.get(verdicts[1], 0) > WORTH.get(verdicts[0], 0)
    if improved and not (kept_back and _only_unanswered(before, after)):
        found.append(f"the verdict was {verdicts[0]} and is {verdicts[1]}")
    return found


def _is_of_another_app(subject: SubjectReport) -> bool:
    """Whether an attester is refused as not the app that was asked about: where no answer names
    that app any more, all who answered are judged."""
    return any(
        item.id == "application.identity" and item.status is Status.FAIL for item in subject.checks
    )


def _breaches(before: Audited, damage: Damage) -> list[str]:
    after = before.again(damaged(before.bundle, damage))
    item = before.bundle.artifacts[damage.artifact]
    kept_back = keeps_back(item, damage.path, removed=damage.removed)
    return breaches(before.report, after.report, before.bundle, kept_back=kept_back)


def keeps_back(item: Artifact, path: Sequence[object], *, removed: bool) -> bool:
    """Whether damage to a part of an artifact does what keeping it back does.

    What is about a KMS serves one check alone, and attestations whose signature does not hold are
    none, since anybody can make them. A scan of logs may lack what was answered for some blocks.
    """
    as_none = item.subject.startswith(KEY_HOLDER) or item.kind is Kind.SIGSTORE_BUNDLE
    of_answers = tuple(path[:2]) == (Json(), "answers") and len(path) == 2 + removed
    return not path or as_none or (item.kind is Kind.LOG_SCAN and of_answers)


def sampled(world: str, audited: Audited, count: int) -> list[str]:
    """The breaches of `count` damages, chosen by the name of the world, of each kind of evidence in
    turn."""
    there = {item.kind for item in audited.bundle.artifacts if item.sha256 is not None}
    kinds = [kind for kind in there if not may_help(world, kind, ())]
    kinds.sort(key=lambda kind: _digest(f"{world} {kind.value}"))
    by_kind: dict[Kind, list[Damage]] = {kind: [] for kind in kinds[:count]}
    for damage in _harmful(world, audited, by_kind):
        by_kind[audited.bundle.artifacts[damage.artifact].kind].append(damage)
    each = -(-count // len(kinds))
    firsts = [
        heapq.nsmallest(each, items, lambda item: _digest(f"{world} {item}"))
        for items in by_kind.values()
    ]
    turns = itertools.zip_longest(*firsts)
    chosen = [damage for turn in turns for damage in turn if damage is not None][:count]
    found = []
    for damage in chosen:
        found += [f"{world}, {damage}: {what}" for what in _breaches(audited, damage)]
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def allowed(world: str, audited: Audited) -> list[Damage]:
    """The damages that must not help in a world, in an order that its name gives."""
    return sorted(_harmful(world, audited), key=lambda item: _digest(f"{world} {item}"))


def _harmful(
    world: str, audited: Audited, kinds: Collection[Kind] = frozenset(Kind)
) -> Iterator[Damage]:
    """The damages to evidence of these kinds that must not help in a world."""
    artifacts = audited.bundle.artifacts
    for item in damages(audited.bundle, kinds):
        if not may_help(world, artifacts[item.artifact].kind, item.path):
            yield item


def may_help(world: str, kind: Kind, path: Sequence[object]) -> bool:
    """Whether damage to this part of the evidence of a world may make it better."""
    told = tuple(path[-1:]) == (ONE_FLAG.get(world),)
    return told or kind in NOBODYS_WORD.get(world, ()) or (world in LEGACY and kind in OLDER)


def _only_unanswered(before: Report, after: Report) -> bool:
    """Whether all that got better is that an advisory check has no evidence at all: whoever gives
    none is warned about, and a policy that cannot do with that requires the check."""
    was = {(s.name, item.id): item for s in before.subjects for item in s.checks}
    for subject in after.subjects:
        for item in subject.checks:
            held = was.get((subject.name, item.id))
            counted = held is not None and held.status in (Status.FAIL, Status.ERROR)
            if counted and item.status not in (Status.FAIL, Status.ERROR):
                unanswered = item.skip_kind in (SkipKind.MISSING_EVIDENCE, SkipKind.BLOCKED)
                if not unanswered or item.requirement is Requirement.REQUIRED:
                    return False
    return True


def _checks(before: SubjectReport, after: SubjectReport) -> Iterator[str]:
    held = {item.id: item.status for item in before.checks}
    told = {item.id: item.status for item in after.checks}
    for item in after.checks:
        unread = item.id == _OF_THE_BOOT and held.get(item.id) is Status.ERROR
        if unread and told["runtime.replay"] is Status.FAIL:
            continue
        if item.status is Status.PASS and held.get(item.id) is not Status.PASS:
            yield f"{item.id} was {held.get(item.id)} and passes"


def _claims(before: SubjectReport, after: SubjectReport, whole: Bundle) -> Iterator[str]:
    held = {item.name: item for item in before.claims}
    tied = tied_to_another_quote(before, after, whole)
    for claim in after.claims:
        if claim.basis in (Basis.ASSERTED, Basis.UNKNOWN) or claim in tied:
            continue
        old = held.get(claim.name)
        if old is None and claim.basis is Basis.CHAIN and _of_one_operator(before, after):
            continue
        if old is None or old.value != claim.value:
            held_before = old is not None and (
                _by_one_operator(old, claim) or is_of_another_quote(claim, after.name, whole)
            )
            if not held_before:
                yield f"{claim.name} is {claim.value} ({claim.basis})"
        elif BASIS_ORDER.index(claim.basis) < BASIS_ORDER.index(old.basis):
            yield f"{claim.name} was {old.basis} and is {claim.basis}"


def _of_one_operator(before: SubjectReport, after: SubjectReport) -> bool:
    """Whether nothing was claimed of the chain while two operators disagreed about it, and the one
    that is left is named as the only one."""
    was, is_now = (
        next((item.value for item in subject.claims if item.name == "block"), None)
        for subject in (before, after)
    )
    return was is None and isinstance(is_now, dict) and is_now["single_source"] is True


def _by_one_operator(before: Claim, after: Claim) -> bool:
    """Whether a value differs in this alone, that one operator is left who gives it."""
    if not (isinstance(before.value, dict) and isinstance(after.value, dict)):
        return False
    return {**before.value, "single_source": True} == after.value


def tied_to_another_quote(
    before: SubjectReport, after: SubjectReport, whole: Bundle
) -> list[Claim]:
    """What is claimed of GPUs that was claimed of them before, where another of the attester's
    quotes is judged: it is that one whose report data their evidence was made for."""
    gpus = {repr(item.value) for item in before.claims if item.name == "gpus"}
    judged = [item for item in after.claims if item.name == "report_data"]
    if any(item in before.claims for item in judged):
        return []
    if not any(is_of_another_quote(item, after.name, whole) for item in judged):
        return []
    return [item for item in after.claims if item.name == "gpus" and repr(item.value) in gpus]


def is_of_another_quote(claim: Claim, name: str, whole: Bundle) -> bool:
    """Whether a claim is the report data or the last register of one of the attester's quotes,
    those in the certificates above its own among them. It is about the quote that is judged:
    without that one, another of the same TD is."""
    found: set[str] = set()
    for each in read_subject(whole, name).quotes if claim.name in _OF_A_QUOTE else ():
        chain = each.certificate_chain.extensions if each.certificate_chain else ()
        for quote in (each.quote, *(item[EXT_QUOTE] for item in chain if EXT_QUOTE in item)):
            with suppress(EvidenceError):
                read = parse_quote(quote, "quote")
                found |= {read.report_data.hex(), read.rtmrs[3].hex()}
    return str(claim.value) in found


def worlds() -> Mapping[str, Callable[[], Audited]]:
    """Every world: the honest ones, and each attack as it is carried out."""
    from tests.worlds.test_words import WORLDS  # noqa: PLC0415

    made: dict[str, Callable[[], Audited]] = {
        name: lambda knobs=knobs: audit(knobs)  # type: ignore[misc]
        for name, knobs in WORLDS.items()
    }
    made |= {attack.name: lambda attack=attack: carry_out(attack) for attack in ATTACKS}  # type: ignore[misc]
    return made


def _judge(task: tuple[str, int, float]) -> dict[str, object]:
    """Damages of one world, from the given place in its seeded order on, until the time is up."""
    name, done, until = task
    audited = worlds()[name]()
    order = allowed(name, audited)
    found: list[str] = []
    place = done
    while place < len(order) and time.monotonic() < until:
        damage = order[place]
        found += [f"{damage}: {what}" for what in _breaches(audited, damage)]
        place += 1
    return {"world": name, "done": place, "all": len(order), "breaches": found}


def main() -> None:
    """Go on with the full run for some seconds, and write the result."""
    options = argparse.ArgumentParser(description="Damage every part of every world's evidence.")
    options.add_argument("--seconds", type=float, default=7200)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--state", type=Path, default=Path(".monotone.json"))
    asked = options.parse_args()
    names = sorted(worlds())
    state = json.loads(asked.state.read_text("utf-8")) if asked.state.is_file() else {}
    share = max(1.0, asked.seconds * asked.workers / len(names))
    begun = time.monotonic()
    with Pool(asked.workers, maxtasksperchild=8) as pool:
        tasks = [(name, share) for name in names if _open(state.get(name))]
        for row in pool.imap_unordered(_timed, [(n, _done(state.get(n)), s) for n, s in tasks]):
            name = str(row["world"])
            earlier = state.get(name, {}).get("breaches", [])
            state[name] = {**row, "breaches": earlier + row["breaches"]}
            asked.state.write_text(json.dumps(state, indent=1), encoding="utf-8")
            if time.monotonic() - begun > asked.seconds:
                pool.terminate()
                break
    Path("benchmarks/monotone.md").write_text(_document(state), encoding="utf-8")


def _timed(task: tuple[str, int, float]) -> dict[str, object]:
    name, done, share = task
    return _judge((name, done, time.monotonic() + share))


def _open(row: "dict[str, int] | None") -> bool:
    return row is None or row["done"] < row["all"]


def _done(row: "dict[str, int] | None") -> int:
    return row["done"] if row else 0


def _document(state: Mapping[str, Mapping[str, object]]) -> str:
    rows = [state[name] for name in sorted(state)]
    done, total = (sum(int(str(row[key])) for row in rows) for key in ("done", "all"))
    found = [f"- `{row['world']}`: {text}" for row in rows for text in _listed(row["breaches"])]
    whole = sum(row["done"] == row["all"] for row in rows)
    return "\n".join(
        [
            "# Nothing that is taken away helps",
            "",
            """Each part of each simulated world's evidence (an artifact, a header, a node of its
JSON, a text of its page, a certificate, an extension) is removed, or spoiled, and the rest is
audited again. `make monotone` goes on where the last run ended.""",
            "",
            "| | |",
            "|---|---|",
            f"| worlds | {len(rows)} ({whole} of them wholly) |",
            f"| audits of damaged evidence | {done:,} of {total:,} |",
            f"| that made a check, a claim or the verdict better | {len(found)} |",
            "",
            *found,
            "",
        ]
    )


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


if __name__ == "__main__":
    main()
