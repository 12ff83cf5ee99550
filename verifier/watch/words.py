"""Changes in words, for somebody who has never read a quote. Nothing is decided by them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from verifier.model.identifiers import format_time
from verifier.patterns import pattern
from verifier.watch.memory import Change, ChangeKind
from verifier.watch.observation import Fact, Observation

_SHOWN: Final = 3
_DIGITS: Final = 10
_RELEASE: Final = pattern(r"([0-9]+)\.([0-9]+)\.([0-9]+)", re.ASCII)
_HEX: Final = pattern(r"\b([0-9a-f]{8})[0-9a-f]{25,}\b", re.ASCII)
_ANCHORED: Final = {
    "simulated": "This world is simulated.",
    "unsafe root": "Another trust anchor than Intel's was used.",
}
_FACTS: Final[Mapping[str, str]] = {
    Fact.MANIFEST: "which manifest runs",
    Fact.IMAGES: "which container images run",
    Fact.SYSTEM: "which operating system booted",
    Fact.TCB: "whether the platform is up to date",
    Fact.QUOTE: "the settings of the confidential VM",
    Fact.MACHINE: "which machine it runs on",
    Fact.CERTIFICATE: "which key its certificate has",
    Fact.ENDPOINT: "which key its address shows",
    Fact.KMS: "who gives it its keys",
    Fact.KMS_ROOT: "which root key its keys come from",
    Fact.KMS_CODE: "what its key service runs",
    Fact.OWNER: "who owns its contract",
    Fact.KMS_OWNER: "who owns the contract of its key service",
    Fact.AUTHORIZATION: "which manifests its contract allows",
    Fact.PENDING: "what is about to change on chain",
}


def told(change: Change, observation: Observation) -> str:
    """A change as a few sentences, on one line."""
    hashed = any(
        isinstance(item, dict) and "sha256" in item for item in (change.before, change.after)
    )
    words = _plain(f"it changed {_FACTS.get(change.kind, change.kind)}") if hashed else None
    sentences = [(words or _WORDS[change.kind])(change), *_judged(change, observation)]
    if change.own:
        sentences.append(
            "The auditor's own policy, reference values or version changed since, too."
        )
    if observation.anchor:
        sentences.append(_ANCHORED.get(observation.anchor, f"Trust anchor: {observation.anchor}."))
    return " ".join(f"{observation.name}: {' '.join(sentences)}".split())


def _judged(change: Change, observation: Observation) -> list[str]:
    """What the audit says of the app now, where the change does not say it."""
    if change.kind in {ChangeKind.VERDICT, ChangeKind.OUTAGE, ChangeKind.FIRST}:
        return []
    accepted = "accepts it" if observation.accepted else "does not accept it"
    return [f"The audit {accepted} (verdict {observation.verdict})."]


def _first(change: Change) -> str:
    after = change.after
    manifests = ", ".join(map(_short, after["manifests"])) or "a manifest that is not proven"
    return f"now watched. It runs manifest {manifests}; {_said(after)}"


def _verdict(change: Change) -> str:
    before, after = change.before, change.after
    was = f"Before, it was {_standing(before)}"
    same = (before["verdict"], before["accepted"]) == (after["verdict"], after["accepted"])
    solved = {*before["failed"], *before["warned"]} - {*after["failed"], *after["warned"]}
    mended = f" It no longer finds fault with: {_listed(sorted(solved))}." if solved else ""
    return f"{_said(after)} {f'{was}, too' if same else was}.{mended}"


def _said(judged: Mapping[str, Any]) -> str:
    """A verdict as a sentence."""
    said = f"the audit's verdict is {_standing(judged)}."
    if judged["failed"]:
        said += f" Failed: {_listed(judged['failed'])}."
    elif judged["warned"]:
        said += f" It has reservations by: {_listed(judged['warned'])}."
    if not judged["failed"] and judged.get("missing"):
        said += f" Evidence is missing for: {_listed(judged['missing'])}."
    return said


def _standing(judged: Mapping[str, Any]) -> str:
    accepted = "accepted" if judged["accepted"] else "not accepted"
    return f"{judged['verdict']}: {accepted}"


def _outage(change: Change) -> str:
    after = change.after
    before = change.before
    last = "none ever came" if before is None else f"the last came on {format_time(before)}"
    many = "one audit" if after["misses"] == 1 else f"{after['misses']} audits in a row"
    many = f"{many}, since {format_time(after['since'])}, got"
    if "of" in after:
        many = f"{_of_the_last(after)} got"
    why = f" The audit said: {after['error']}." if after["error"] else ""
    return (
        f"it gives no evidence: {many} no quote from it; {last}.{why} "
        "Until it does, nobody can tell what it runs."
    )


def _recovery(change: Change) -> str:
    since = "" if change.before is None else f", after none since {format_time(change.before)}"
    return f"it gives evidence again{since}."


def _of_the_last(after: dict[str, int]) -> str:
    return f"{after['misses']} of the last {after['of']} audits"


def _unproven(change: Change) -> str:
    if change.after is not None:
        return (
            f"it is often not proven {_facts(change.before)}: not in {_of_the_last(change.after)}. "
            "What was proven last is not known to hold in between."
        )
    return (
        f"it is no longer proven {_facts(change.before)}. Evidence for it was there before and has "
        "stayed away; what was proven last is not known to hold now."
    )


def _proven(change: Change) -> str:
    return f"it is proven again {_facts(change.after)}."


def _facts(names: list[str]) -> str:
    return ", ".join(_FACTS.get(name, name) for name in names)


def _instance(change: Change) -> str:
    machine = change.after["machine"]
    where = f" on machine {_short(machine)}" if machine else ""
    return f"another instance answers{_of(change)}{where}, which was not seen before."


def _manifest(change: Change) -> str:
    lead = (
        f"it runs another manifest{_of(change)}: {_short(change.after)} in place of "
        f"{_short(change.before)}."
    )
    if change.again is not None:
        return (
            f"it went back to an earlier manifest{_of(change)}: {_short(change.after)}, last seen "
            f"on {format_time(change.again)}, in place of {_short(change.before)}. What was "
            "mended since then is undone."
        )
    return f"{lead} The manifest says which containers run, and how: the app was changed."


def _images(change: Change) -> str:
    before, after = _by_service(change.before), _by_service(change.after)
    if before is None or after is None:
        return f"it runs other container images{_of(change)}."
    parts = [
        f"{service}: {_short(after.get(service))} in place of {_short(before.get(service))}"
        for service in sorted(before.keys() | after.keys())
        if before.get(service) != after.get(service)
    ]
    return f"it runs other container images{_of(change)}. {_listed(parts, '; ')}."


def _by_service(images: object) -> dict[str, str] | None:
    if not isinstance(images, list):
        return None
    rows = [item for item in images if isinstance(item, dict)]
    return {str(item.get("service")): str(item.get("image")) for item in rows}


def _system(change: Change) -> str:
    before, after = (item["release"] or "an unknown one" for item in (change.before, change.after))
    older = _older(before, after)
    how = " It is an older release: what was mended since then is undone." if older else ""
    return f"it booted another operating system{_of(change)}: {after} in place of {before}.{how}"


def _older(before: str, after: str) -> bool:
    """Whether both name releases, and the new one has the lower number."""
    numbers = [_RELEASE.search(item) for item in (after, before)]
    found = [
        tuple(int(part[:_DIGITS]) for part in item.groups()) for item in numbers if item is not None
    ]
    return len(found) == len(numbers) and found[0] < found[1]


def _tcb(change: Change) -> str:
    before, after = change.before, change.after
    new = sorted(set(after.get("advisories") or ()) - set(before.get("advisories") or ()))
    said = (
        f"Intel's judgement of the platform{_of(change)} is {after.get('status')}, and was "
        f"{before.get('status')}."
    )
    return said + (f" New advisories: {_listed(new)}." if new else "")


def _pending(change: Change) -> str:
    before, after = change.before, change.after
    known = [repr(item) for item in before.get("calls", ())]
    calls = [item for item in after.get("calls", ()) if repr(item) not in known]
    parts = [
        f"timelock {item['timelock']} has announced a call of {item['target']}, "
        f"function {item['data']}"
        for item in calls
    ]
    parts += [
        f"{contract} is offered to {after[key]}"
        for key, contract in (
            ("app_owner", "the app's contract"),
            ("kms_owner", "the key service's contract"),
        )
        if after.get(key) and after.get(key) != before.get(key)
    ]
    if not parts:
        return "what was about to change on chain was carried out or withdrawn."
    return f"something is about to change on chain: {_listed(parts, '; ')}."


def _authorization(change: Change) -> str:
    before, after = set(change.before), set(change.after)
    parts = [
        f"{verb} {_listed([_short(item) for item in sorted(items)])}"
        for verb, items in (("now allows", after - before), ("no longer allows", before - after))
        if items
    ]
    return f"its contract {', and '.join(parts)}. Whoever operates it can start what is allowed."


def _plain(lead: str) -> Callable[[Change], str]:
    """A change of one value."""

    def words(change: Change) -> str:
        after, before = _text(change.after), _text(change.before)
        return f"{lead}{_of(change)}: {after} in place of {before}."

    return words


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in sorted(value.items()))
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    return _short(value)


def _of(change: Change) -> str:
    return f" (instance {_short(change.instance)})" if change.instance else ""


def _short(value: object) -> str:
    """A text, with every long run of hex digits by its beginning."""
    return _HEX.sub(r"\1…", str(value))


def _listed(items: list[str], separator: str = ", ") -> str:
    shown = separator.join(items[:_SHOWN])
    return shown + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")


_WORDS: Final[Mapping[ChangeKind, Callable[[Change], str]]] = {
    ChangeKind.FIRST: _first,
    ChangeKind.VERDICT: _verdict,
    ChangeKind.OUTAGE: _outage,
    ChangeKind.RECOVERY: _recovery,
    ChangeKind.UNPROVEN: _unproven,
    ChangeKind.PROVEN: _proven,
    ChangeKind.INSTANCE: _instance,
    ChangeKind.MANIFEST: _manifest,
    ChangeKind.IMAGES: _images,
    ChangeKind.SYSTEM: _system,
    ChangeKind.TCB: _tcb,
    ChangeKind.QUOTE: _plain("the confidential VM has other settings"),
    ChangeKind.MACHINE: _plain("it runs on another machine"),
    ChangeKind.CERTIFICATE: _plain("its certificate has another key, as its quote says"),
    ChangeKind.ENDPOINT: _plain("its address shows another key"),
    ChangeKind.KMS: _plain("its keys come from another key service"),
    ChangeKind.KMS_ROOT: _plain("its keys come from another root key"),
    ChangeKind.KMS_CODE: _plain("its key service runs something else"),
    ChangeKind.OWNER: _plain("its contract has another owner"),
    ChangeKind.KMS_OWNER: _plain("the contract of its key service has another owner"),
    ChangeKind.AUTHORIZATION: _authorization,
    ChangeKind.PENDING: _pending,
}
