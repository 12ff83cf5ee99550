"""The manifest that a deploy tool makes of a compose file, and which tool made a manifest."""

import hashlib
import json
from collections.abc import Mapping

from msgspec import Struct

from verifier.errors import EvidenceError, UsageError
from verifier.evidence.compose.app_compose import AppCompose
from verifier.model.result import JsonValue
from verifier.reference.deploy_profiles import Flag, Form, Given, Profile, profiles


class Choices(Struct, frozen=True, kw_only=True):
    """What the author decides beside the compose file.

    `allowed` are the names of variables in the order of the tool's own list; `flags` by the name of
    their option; `others` more fields of the manifest. None is what is not given.
    """

    name: str | None = None
    allowed: tuple[str, ...] = ()
    script: str | None = None
    flags: Mapping[str, bool] = {}
    others: Mapping[str, JsonValue] = {}


class Prediction(Struct, frozen=True):
    """The manifest as far as it is known. `missing` names each field whose value is not, and what
    to do; `raw` is None with any."""

    profile: Profile
    document: Mapping[str, JsonValue]
    raw: bytes | None
    missing: Mapping[str, str]

    @property
    def compose_hash(self) -> str | None:
        """The compose hash (hex), None where a field is missing."""
        return None if self.raw is None else hashlib.sha256(self.raw).hexdigest()


def predict(profile: Profile, compose: str, choices: Choices) -> Prediction:
    """What a tool makes of a compose file. Raises UsageError for choices that it does not have,
    EvidenceError for text that UTF-8 cannot carry."""
    _refuse_unknown(profile, choices)
    given: dict[str, JsonValue] = {
        "compose": compose,
        "allowed": list(choices.allowed),
        "name": choices.name,
        "script": choices.script,
    }
    document: dict[str, JsonValue] = {}
    missing = {name: why for name, why in profile.unknown.items() if name not in profile.fields}
    for name, value in profile.fields.items():
        if name in choices.others:
            document[name] = choices.others[name]
        elif isinstance(value, Flag):
            document[name] = choices.flags.get(value.name, value.default)
        elif not isinstance(value, Given):
            document[name] = value
        elif given[value.source] is not None:
            document[name] = given[value.source]
        else:
            missing[name] = profile.unknown.get(name) or f"give it with --{value.source}"
    written = {"pre_launch_script": choices.script, **choices.others}
    for name in profile.optional:
        if written.get(name) is not None:
            document[name] = written[name]
    raw = None if missing else write(document, profile.form)
    return Prediction(profile, document, raw, missing)


def _refuse_unknown(profile: Profile, choices: Choices) -> None:
    where = f"{profile.tool}@{profile.versions}"
    if unknown := sorted(choices.flags.keys() - profile.flags.keys()):
        hint = f"one of {', '.join(profile.flags)}" if profile.flags else "it has none"
        raise UsageError(f"{where} has no flag {unknown[0]!a}", hint=hint)
    takes_script = {"pre_launch_script"} & {*profile.fields, *profile.optional}
    if choices.script is not None and not takes_script:
        raise UsageError(f"{where} takes no pre-launch script", hint="leave it out")
    known = {*profile.fields, *profile.optional}
    if others := sorted(choices.others.keys() - known):
        raise UsageError(
            f"{where} writes no field {others[0]!a}", hint=f"one of {', '.join(sorted(known))}"
        )


def write(document: Mapping[str, JsonValue], form: Form) -> bytes:
    """JSON as a tool writes it. Raises EvidenceError for text that UTF-8 cannot carry."""
    try:
        if form is Form.CANONICAL:
            text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        else:
            text = json.dumps(document, indent=4, ensure_ascii=form is Form.INDENTED_ASCII)
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EvidenceError("app-compose: text that UTF-8 cannot carry") from error


def made_by(app: AppCompose) -> tuple[Profile, ...]:
    """The profiles that would write exactly these bytes, for some choices of their author."""
    return tuple(profile for profile in profiles() if _writes(profile, app))


def _writes(profile: Profile, app: AppCompose) -> bool:
    document = app.document
    if not profile.unknown.keys() <= profile.fields.keys() <= document.keys():
        return False
    for name, value in profile.fields.items():
        found = document[name]
        fits = (
            isinstance(found, bool)
            if isinstance(value, Flag)
            else isinstance(value, Given) or found == value
        )
        # A key that is pinned, or another file system, is a choice of the author.
        if not fits and name not in {"key_provider_id", "storage_fs"}:
            return False
    names = [*profile.fields, *(name for name in profile.optional if name in document)]
    if document.keys() - set(names):
        return False
    return write({name: document[name] for name in names}, profile.form) == app.raw


def path_label(app: AppCompose) -> str:
    """Which tool made a manifest, "" where no known one would write it so: the tools of one title
    with their versions."""
    found = made_by(app)
    if not found:
        return ""
    first, last = found[0], found[-1]
    if any(profile.title != first.title for profile in found):
        return "; ".join(dict.fromkeys(profile.title for profile in found))
    versions = first.since if first.since == last.until else f"{first.since} to {last.until}"
    return f"{first.title}, {versions}"
