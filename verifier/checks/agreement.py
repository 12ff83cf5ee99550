"""Whether two verifiers say the same of a quote, where the relying party asks for a second opinion.

Neither is believed over the other: where they differ about anything that this auditor takes from
the first, the quote is neither genuine nor forged, and what rests on it is an error.
"""

import hashlib
from collections.abc import Iterator, Mapping

from verifier.checks.dcap import DcapResult, verifier_name
from verifier.checks.second_opinion.judge import Judgement, judge_quote
from verifier.errors import EvidenceError
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.model.report import QuoteOpinion
from verifier.version import DISTRIBUTION


def need_agreement(  # noqa: PLR0913, PLR0917 - what a verifier is given, and what one made of it
    quote: bytes,
    collateral: Mapping[str, str | bytes],
    root: bytes,
    at: int,
    result: DcapResult,
    exchanges: Exchanges,
) -> None:
    """Have the second verifier judge what the first one judged, and note what it says. Raises
    EvidenceError where they disagree."""
    found = tuple(differences(result, judge_quote(quote, collateral, root, at)))
    digest, noted = hashlib.sha256(quote).hexdigest(), _noted(exchanges)
    # Several attesters may show one quote, each with collateral of its own.
    noted[digest] = tuple(dict.fromkeys((*noted.get(digest, ()), *found)))
    if found:
        raise EvidenceError(
            f"two verifiers disagree about the quote: {'; '.join(found[:3])}",
            hint="one of them is wrong, or Intel's collateral is of a new kind: report it, with "
            "the bundle",
        )


def quote_opinion(exchanges: Exchanges) -> QuoteOpinion:
    """How the two verifiers compare over the quotes of an audit that both have judged."""
    noted = _noted(exchanges)
    return QuoteOpinion(
        reader=second_name(),
        quotes=sum(not found for found in noted.values()),
        disagreements=tuple(
            f"quote {digest[:16]}: {'; '.join(found)}"
            for digest, found in sorted(noted.items())
            if found
        ),
    )


def differences(first: DcapResult, second: Judgement) -> Iterator[str]:
    """What the two say otherwise, in words that name both. Why they refuse is not compared: each
    names the first reason that it meets."""
    if first.failure or second.failure:
        if not (first.failure and second.failure):
            yield _words(
                "the quote",
                f"refuses it ({first.failure:.120})" if first.failure else "verifies it",
                f"refuses it ({second.failure:.120})" if second.failure else "verifies it",
            )
        return
    dates = {"": second.date, **{name: date for name, _, date in second.parts}}
    for what, ours, theirs in (
        ("status", first.tcb_status, second.status),
        (
            "parts",
            dict(first.component_statuses),
            {name: status for name, status, _ in second.parts},
        ),
        ("TCB dates", dict(first.level_dates), dates),
        ("advisories", sorted({*first.advisory_ids}), sorted(second.advisories)),
        ("merged advisories", sorted({*first.merged_advisories}), sorted(second.merged_advisories)),
        ("evaluation number", first.evaluation_number, second.evaluation),
        ("FMSPC", first.fmspc.hex(), second.fmspc.hex()),
        ("PPID", first.ppid.hex(), second.ppid.hex()),
        ("collateral issued", first.issued, second.issued),
        ("collateral expires", first.expires, second.expires),
    ):
        if ours != theirs:
            yield _words(what, f"says {ours!a:.200}", f"says {theirs!a:.200}")


def second_name() -> str:
    """The second verifier's name, and the version of what it rests on."""
    import cryptography  # noqa: PLC0415 - loads only where a quote is

    return f"{DISTRIBUTION}'s own verifier (cryptography {cryptography.__version__})"


def _words(what: str, first: str, second: str) -> str:
    return f"{what}: {verifier_name()} {first}, {second_name()} {second}"


def _noted(exchanges: Exchanges) -> dict[str, tuple[str, ...]]:
    """sha256 (hex) of each quote that both have judged → what they say otherwise."""
    return exchanges.once(_noted, dict[str, tuple[str, ...]])
