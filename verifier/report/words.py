"""The words of reports and timelines, each in one plain sentence: `verify explain WORD`."""

from typing import Final

from verifier.model.result import Verdict
from verifier.report.audit.answers import SUPPORT
from verifier.report.audit.families import MEANINGS
from verifier.report.rule_docs import SEVERITY_MEANINGS

GLOSSARY: Final = {
    "TD": "a virtual machine that Intel TDX shields from the host: a trust domain, or guest",
    "quote": "what the CPU signs about a TD: its measurements and its report data",
    "collateral": "Intel's signed lists of good and revoked firmware; in force for about 30 days",
    "TCB": "the firmware and microcode that a quote's worth rests on; UpToDate is the best status",
    "FMSPC": "the family of platforms that collateral is about",
    "PCK": "the certificate of one platform's quoting key; Intel issues it",
    "QE": "the quoting enclave: Intel's code, which signs quotes",
    "MRTD": "the register that measures the firmware a TD started with",
    "RTMR": "a register that measurements are added to: RTMR0-2 the boot, RTMR3 the app",
    "MRCONFIGID": "a register that the host sets at launch; dstack writes the compose hash there",
    "report data": "64 bytes that the guest chooses and the CPU signs into a quote",
    "event log": "the list of what was measured; replaying it gives the registers",
    "manifest": "the file that says which code an app runs; named by the hash of its bytes",
    "compose hash": "the sha256 of the manifest's bytes",
    "app id": "the name of an app, and of its contract, where it has one",
    "instance": "one running copy of an app",
    "key provider": "what gives an app its keys: a KMS, or an enclave on the same machine",
    "KMS": "the key service: gives an app its keys, if the contracts allow what it runs",
    "contract": "a public program on a blockchain; its owner can change what it allows",
    "generation": "which build of dstack's contracts is at an address, numbered from the oldest",
    "notice": "how long a change is public before it takes effect",
    "silently": "without a public event: seen only by who looks for it",
    "Safe": "an owner that acts when several key holders sign",
    "owner": "the account or contract that can change what an app's contract allows",
    "block": "the finalized block as of which the contracts were read",
    "key holder": "who gives the app its keys, and could read whatever they protect",
    "KMS root": "the address of the key that a KMS signs the keys of all its apps with",
    "unsafe root": "another trust anchor than Intel's was named: nothing follows for real hardware",
    "simulated": "made up by this tool, to show an audit: nothing follows for real hardware",
    "rebuilt": "of an OS image: measured from its files by whoever runs this audit",
    "published": "of an OS image: its publisher says which registers it gives",
    "stage": "how far an app is from ERC-733 stage 1, in which nobody can change it unnoticed",
    "timelock": "an owner that announces each act, and makes it after a delay",
    "gateway": "the server through which users reach the app",
    "not final": "so recent that it may still be undone",
    "bundle": "everything that was collected for one audit, byte for byte, under one digest",
    "policy": "what a relying party asks of each check, and which verdicts it accepts",
    "floor": "the checks that every policy requires",
    "waiver": "a failure or warning that a policy accepts, for one app and until a date",
    "proven": "signed by the CPU or the KMS, measured, or finalized on chain",
    "recognised": "equal to a reference value of this auditor",
    "only said": "the word of whoever served it: no signature, register or contract supports it",
    "not known": "nothing answers it, or what answers it did not prove genuine",
    "observed": "of an OS image: known from quotes of others, not measured from its files",
    "dev-proof": "ERC-733 stage 1: not even the developer can change the app unnoticed and at once",
    Verdict.AFFIRMING.value: "the verdict when every check that applies and is asked for holds",
    Verdict.WARNING.value: "the verdict when all required checks hold, and something is in doubt",
    Verdict.NONE.value: "the verdict when a required check has no result: nothing follows from it",
    Verdict.CONTRAINDICATED.value: "the verdict when the evidence contradicts a check",
    **{mark.value.lower(): f"of a check: {meaning}" for mark, meaning in MEANINGS.items()},
    "required": "of a check: the policy accepts no verdict without its result",
    "advisory": "of a check: a failure contradicts; a doubt, or no result, is a warning",
    "conditional": "of a finding: it holds if something that is not known here is so",
    "not evaluable": "of a rule: the evidence that it needs is not there, so it was not judged",
    "basis": "of a claim: what supports it directly, from `hardware` to `unknown`",
    **{basis.value: f"of a claim: {meaning}" for basis, meaning in SUPPORT.items()},
    **{item.value: f"of a finding: {meaning}" for item, meaning in SEVERITY_MEANINGS.items()},
}
"""What each word means."""

TIMELINE_WORDS: Final = (
    *("manifest", "KMS", "contract", "notice", "silently", "Safe", "timelock", "gateway"),
    "not final",
)
"""Those that somebody needs who has never read a contract."""
AUDIT_WORDS: Final = (
    *("TD", "quote", "collateral", "TCB", "FMSPC", "MRTD", "RTMR", "MRCONFIGID", "report data"),
    *("event log", "manifest", "compose hash", "key provider", "KMS", "contract", "generation"),
    *("observed", "dev-proof"),
)
"""Those that somebody needs who has never read a quote."""


def explained(words: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Some words of the glossary with their meanings."""
    return tuple((word, GLOSSARY[word]) for word in words)


def words_document() -> str:
    """The glossary as a Markdown page, in alphabetical order."""
    rows = (f"| {word} | {GLOSSARY[word]} |" for word in sorted(GLOSSARY, key=str.casefold))
    head = (
        "# Words\n\n"
        "The words of reports and timelines; `verify explain WORD` says the same. Generated from "
        "`verifier/report/words.py`.\n\n"
        "| Word | Means |\n|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"
