"""Where the two verifiers of quotes are known to differ, and what the check says then.

Each row is a reading of Intel's documents that one of them takes narrower. All of them take Intel's
keys, or bytes that nobody signs: none turns a forged quote into a genuine one.
"""

import json
import re
from typing import Final

from benchmarks.quote_changes import Asked
from verifier.checks.case import Case, Question
from verifier.checks.dcap import DcapResult
from verifier.checks.second_opinion.judge import Judgement
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.subject import read_subject
from verifier.reference.values import embedded

_WHOLE: Final = (
    ".* is no (date|text|list|object|number)",
    ".* is no TDX module",
    "a level with the status",
    r".* is not \d+ bytes of hex",
    r".*tcbcomponents has \d+ components",
    "TCB info names a TDX module twice",
)
_OURS: Final = (
    ("bytes that belong to nothing", "unsigned bytes between the parts of a quote"),
    ("certification data of type", "the type of the outer certification data, which is unsigned"),
    ("the quoting enclave's report is not about", "report data whose second half is not zero"),
    ("the revocation list of .* is not in force", "a revocation list that begins later"),
    (".* has the critical extension", "an extension that is critical, against RFC 5280"),
    ("ExtensionNotFound", "a certificate without key usage or basic constraints"),
    ("the key of .* is for something else", "the key usage of a certificate"),
    (".* is no '", "the names that Intel gives its certificates"),
    ("the platform's (extension|field)", "fields of the platform's extension that decide nothing"),
    ("the platform meets no TCB level", "the 16 component versions, not the CPUSVN beside them"),
    ("(TDX|TD_QE): not of version", "versions of documents: 3 and 2 alone"),
    (f"({'|'.join(_WHOLE)})", "fields of a document that decide nothing about this platform"),
    ("ValueError|InvalidVersion", "certificates and names in them that the other never reads"),
)
"""(our refusal, what is read narrower than dcap_qvl reads it)."""

_THEIRS: Final = (
    ("Invalid QE auth data length", "authentication data that is not of 32 bytes"),
    ("No matching TCB level", "the CPUSVN, not the 16 component versions beside it"),
)
"""(dcap_qvl's refusal, what it reads narrower)."""


def why(first: DcapResult, second: Judgement) -> str:
    """Why one refuses what the other accepts, "" where it is not known."""
    if not (first.failure or second.failure):
        return ""
    rows = _THEIRS if first.failure else _OURS
    reason = first.failure or second.failure
    side = "dcap_qvl" if first.failure else "ours"
    found = next((text for form, text in rows if re.match(form, reason)), "")
    return f"{side}: {found}" if found else ""


def check_says(asked: Asked) -> str:
    """What `hardware.quote` makes of it: accepted, refused or missing."""
    builder = BundleBuilder()
    document = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in asked.members.items()
    }
    for kind, raw in ((Kind.QUOTE, asked.quote), (Kind.COLLATERAL, json.dumps(document).encode())):
        builder.add(kind, raw, source=kind.value, collected_at=asked.at)
    bundle = builder.build()
    reference = embedded().with_root(asked.root, "")
    question = Question(app_id=None, reference=reference, at=asked.at, trusted=False)
    case = Case(read_subject(bundle, ""), question, Exchanges(bundle))
    try:
        return "refused" if case.dcap.failure else "accepted"
    except MissingEvidence:
        return "missing"
    except EvidenceError:
        return "refused"
