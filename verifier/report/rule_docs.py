"""The documentation of the rules, made of their own text: the pages of docs/rules."""

from typing import Final

from verifier.manifest.rule import Need, RuleText
from verifier.manifest.rules.catalogue import ALL_RULES
from verifier.model.result import Severity
from verifier.reference.compose_attributes import judged, newest

GROUPS: Final = {
    "MAN": "Manifest integrity and shape",
    "IMG": "Image references",
    "ENV": "Environment and allowed_envs",
    "PLS": "Scripts",
    "SVC": "Services: privilege and isolation",
    "NET": "Network exposure",
    "RTF": "Runtime flags",
    "SEC": "Secrets and development leftovers",
    "KMS": "Key management and authorization",
    "PLT": "Platform",
    "RUN": "What runs",
    "BLD": "Builds: what a Dockerfile leaves open",
}
SEVERITY_MEANINGS: Final = {
    Severity.CRITICAL: "somebody gets code, a shell or the app's keys while the compose hash stays "
    "the same, or the audited text is not the attested one",
    Severity.HIGH: "an unmeasured value moves user data, trust or identity; code from a tag; no "
    "public upgrade log",
    Severity.MEDIUM: "measured, but breaks isolation, leaks, or is not reviewable from the text",
    Severity.LOW: "hygiene",
    Severity.INFO: "context, never scored",
}
_INTRODUCTION: Final = """\
# Rules

The compose hash proves which manifest runs; these rules say what that manifest lets its operator,
the host and publishers do. `verify lint FILE` judges a file. An audit, and `verify lint APP_ID`,
also know contract state, key provider, OS and metadata page, and decide what a file leaves open.
The BLD rules are asked of Dockerfiles, and of nothing that runs: a digest does not tell what an
image was built from.
Made from the rules themselves: change those, then run `python docs/rules/regenerate.py`.

A rule that needs evidence which is not there is *not evaluable*, never passed. A *conditional*
finding holds only if something that is not known is so: in a compose file alone, that the operator
may set a variable; without the OS's identity, that it has an SSH server. Rules marked *escalates*
are one level worse in a service whose image can be replaced.

In a file of your own, `# verify: ignore RULE reason` on the line of a finding, or on the line above
it, silences it, and so does an entry of `--baseline FILE` until its date:

```toml
[[ignore]]
rule = "IMG-004"
service = "web"        # optional, as is `fingerprint`
reason = "moves to a digest with the next release"
expires = 2027-01-31
```

What is silenced is still listed. In evidence, and in an audit, nothing inside a manifest silences
anything. A manifest alone does not tell what the code does when a variable is missing, how it
authenticates, whether a tag has moved, or what the host writes into user_config.

A compose file is judged in the form that Docker Compose makes of it: documents merged, services
extended, paths below /dstack, short and long syntax alike. [attributes.md](attributes.md) lists
what is judged, and by which rule.
"""
_ATTRIBUTES: Final = """\
# Attributes of a compose file

Every attribute that a release of Docker Compose knows is here, or is below one that is: `*` stands
for a name, `[]` for an item of a list. One that is not here is a finding of its own (MAN-010), and
so is one that the guest's Compose may not know (MAN-012). *Since* is the first release that knows
it, empty for 2.23 and earlier.
"""
_NOT_ASKED: Final = "Not asked: nothing that is collected can decide it, so it has no result."
_NEEDS: Final = {need: need.name.lower().replace("_", " ") for need in Need}


def rule_pages() -> dict[str, str]:
    """The pages by file name: an index, and one page for each group of rules."""
    pages = {"README.md": _index(), "attributes.md": _attributes()}
    for group, title in GROUPS.items():
        rules = [rule for rule in ALL_RULES if rule.group == group]
        parts = [f"# {group}: {title}\n", *map(_entry, rules)]
        pages[f"{group.lower()}.md"] = "\n".join(parts)
    return pages


def _index() -> str:
    lines = [_INTRODUCTION, "| Severity | Means |", "|---|---|"]
    lines += [
        f"| {severity.value} | {meaning} |" for severity, meaning in SEVERITY_MEANINGS.items()
    ]
    lines += ["", "| Rule | Severity | Title |", "|---|---|---|"]
    lines += [
        f"| [{rule.id}]({rule.group.lower()}.md#{anchor(rule)}) | {rule.severity.value} "
        f"| {rule.title} |"
        for rule in ALL_RULES
    ]
    return "\n".join(lines) + "\n"


def _entry(rule: RuleText) -> str:
    needs = ", ".join(_NEEDS[need] for need in rule.needs) or "nothing"
    facts = [rule.severity.value, *(["escalates"] if rule.escalates else []), f"needs: {needs}"]
    return "\n\n".join(
        (
            f"## {rule.id}: {rule.title}",
            f"*{'; '.join(facts)}*",
            rule.what if rule.asked else f"{rule.what} {_NOT_ASKED}",
            *_spellings(rule),
            f"**Why.** {rule.why}",
            f"**Fix.** {rule.fix}",
            f"Source: {rule.source}\n",
        )
    )


def _spellings(rule: RuleText) -> list[str]:
    """The attributes of a compose file, in any syntax, that reach a rule."""
    found = [f"`{path}`" for path, place in judged().items() if rule.id in place.rules]
    return [f"**Attributes.** {', '.join(found)}"] if found else []


def _attributes() -> str:
    lines = [
        _ATTRIBUTES,
        f"Releases of Docker Compose: up to {'.'.join(map(str, newest()))}.",
        "",
        "| Attribute | Since | Judged by, or harmless because |",
        "|---|---|---|",
    ]
    for path, place in judged().items():
        if path:
            why = ", ".join(f"[{name}]({name[:3].lower()}.md)" for name in place.rules)
            since = ".".join(map(str, place.since))
            lines.append(f"| `{path}` | {since} | {why or place.harmless} |")
    return "\n".join(lines) + "\n"


def anchor(rule: RuleText) -> str:
    """The anchor that GitHub gives the heading of a rule."""
    heading = f"{rule.id}: {rule.title}".lower()
    kept = "".join(c for c in heading if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")
