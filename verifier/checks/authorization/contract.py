"""From the app id to its contracts: is this very boot allowed, and by what code."""

from typing import Final

from verifier.chain.view import Agreed, ChainView
from verifier.checks.authorization.history import without_contract
from verifier.checks.case import MAX_CLOCK_SKEW, Case
from verifier.checks.engine import Outcome, check, failed, passed, warned
from verifier.errors import MissingEvidence
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contracts import BootInfo
from verifier.model.chain import ZERO_ADDRESS, ContractCode
from verifier.model.identifiers import format_time
from verifier.model.result import EvidenceRef, JsonValue
from verifier.reference.generations import generation_named
from verifier.reference.values import KmsRecord, ReferenceValues

MAX_BLOCK_AGE: Final = 3600
"""Seconds between the finalized block and the time of judgement, at most."""
MAX_BLOCK_LAG: Final = 900
"""Seconds by which a block that one endpoint calls finalized may be older than another's: nodes
hear of finality with Ethereum's epochs, of 384 s."""
_OLDER_ID: Final = (
    "by the id that releases before 0.5.6 give it: a KMS of a later one asks for sha256 of the "
    "platform id, and would refuse it"
)


@check(
    "authorization.contract",
    "KMS and app are governed by known contract code",
    requires=("key_management.provider",),
)
def contract(case: Case) -> Outcome:
    """On the chain that the KMS record names, at a finalized block whose hash two operators agree
    on, the code at the app's address is a known proxy, and the implementations behind app and KMS
    are known builds of DstackApp and DstackKms, of the generation that the record says. What code
    the app ran before is told by logs, which `authorization.history` judges. A KMS without a
    contract has no public log, which is a warning; so is one that only the relying party names,
    behind a proxy of unknown code, which shows any implementation it likes."""
    found = case.kms_contract()
    if found is None:
        return without_contract(case)
    record, view = found
    header = view.header
    app = view.app_address()
    if not app:
        said = "the KMS contract has no such app registered"
        return view.accuse(failed(said, evidence=header.evidence), said)
    problems: list[str] = []
    kms_code = _implementation(case.reference, view, view.plan.kms, "kms", problems)
    app_code = _implementation(case.reference, view, app, "app", problems)
    upgraded = _other_generation(kms_code, record)
    by_address = view.plan.generation.app_id_is_address
    if upgraded and generation_named(upgraded).app_id_is_address != by_address:
        problems.append(f"the KMS runs generation {upgraded}, its record says {record.generation}")
    problems.extend(_proxy_problems(case.reference, view, app))
    if problems:
        return _refused(view, problems, header.evidence)
    vouched = record in case.reference.kms or _is_known_proxy(case.reference, view, view.plan.kms)
    summary = (
        f"KMS {view.plan.kms} and app {app} on chain {view.plan.chain_id} run known code "
        f"({kms_code.generation if kms_code else '?'}, {app_code.generation if app_code else '?'})"
    )
    doubts = [
        text
        for text, doubted in (
            (f"the record says {record.generation}: the KMS was upgraded", upgraded),
            ("read from one operator only", view.single_source),
            (_of_other_chains(view), view.single_source and view.foreign),
            (_in_doubt(view), view.single_source and view.doubtful),
            (_lagging(view), _lags(view)),
            (f"the code at {view.plan.kms}, which you named, is not a known proxy", not vouched),
        )
        if doubted
    ]
    if doubts:
        return warned(f"{summary}; {'; '.join(doubts)}", evidence=header.evidence)
    return passed(f"{summary}, block {view.number}", evidence=header.evidence)


def _lately(case: Case, view: ChainView) -> int:
    """When the agreed block was made (Unix seconds). Raises MissingEvidence where that is long ago,
    or long before what another endpoint calls finalized."""
    _, mined = view.header.value
    if not -MAX_CLOCK_SKEW <= case.question.at - mined <= MAX_BLOCK_AGE:
        raise MissingEvidence(
            f"the finalized block {view.number} is of {format_time(mined)}, not within an hour of "
            f"{format_time(case.question.at)}",
            hint="collect again, or judge as of the time of collection with --at",
        )
    if _lags(view):
        raise MissingEvidence(
            f"{_lagging(view)}: what changed in between is not seen",
            hint="collect again, or ask another endpoint of the same chain with --rpc-url",
        )
    return mined


def _lags(view: ChainView) -> bool:
    """Whether an endpoint calls a much older block finalized than another: the state is read there,
    and whoever runs that endpoint chooses how old it is."""
    return view.newest - view.header.value[1] > MAX_BLOCK_LAG


def _lagging(view: ChainView) -> str:
    mined, newest = format_time(view.header.value[1]), format_time(view.newest)
    ours = f"one endpoint calls block {view.number} of {mined} finalized"
    return f"{ours}, and another one a block of {newest}"


@check(
    "authorization.allowed",
    "The contracts allow this very boot",
    requires=("authorization.contract", "runtime.events"),
)
def allowed(case: Case) -> Outcome:
    """`DstackKms.isAppAllowed` says yes to this boot (app, manifest hash, instance, device, OS
    image, TCB), and each getter behind that answer agrees: the app is registered, its contract
    allows the hash and the device, the KMS allows the OS image, taken from the registers and not
    from an event, and the build of the KMS that the guest met, where it measured one. A device that
    is listed only under the id that older releases give it is a warning: which id the KMS asks by
    is shown by nothing that it could not leave out. All of it at one finalized block, less than an
    hour old, and no endpoint calls one finalized that is a quarter of an hour newer."""
    found = case.kms_contract()
    if found is None:
        return without_contract(case)
    _, view = found
    boots = view.plan.boot_infos
    if not boots:
        raise MissingEvidence(
            "the OS image is not identified, so whether it is allowed cannot be asked",
            hint="boot.image says which registers are not known",
        )
    mined = _lately(case, view)
    app = view.app_address()
    boot, *_ = boots
    getters, any_device, evidence = _getters(view, app, boot)
    asked = [(_ask(view, boot), _device(view, app, boot)) for boot in boots]
    answers = [answer for answer, _ in asked]
    first, *_ = answers
    refusals = [name for name, value in getters.items() if not value]
    if not any_device.value and not any(device for _, device in asked):
        refusals.append("device")
    yes = [
        index
        for index, (answer, device) in enumerate(asked)
        if answer.value[0] and (any_device.value or device)
    ]
    references = (*evidence, *first.evidence)
    if refusals or not yes:
        said = ", ".join(refusals) or first.value[1] or "isAppAllowed says no"
        refused = failed(
            f"not allowed: {said}",
            expected="isAppAllowed and every getter say yes",
            actual=_actual(getters, any_device, answers),
            evidence=references,
            remediation="the KMS would refuse this boot now: the guest was started before the "
            "permission was removed, or never had it",
        )
        return view.accuse(refused, refused.summary)
    summary = f"isAppAllowed says yes at block {view.number} ({format_time(mined)}); " + (
        "any device may run it" if any_device.value else "this device is listed"
    )
    if view.single_source:
        return warned(f"{summary}; read from one operator only", evidence=references)
    actual = _actual(getters, any_device, answers)
    if not any_device.value and yes[0] > 0:
        return warned(f"{summary}, {_OLDER_ID}", actual=actual, evidence=references)
    return passed(summary, actual=actual, evidence=references)


def _refused(view: ChainView, problems: list[str], evidence: tuple[EvidenceRef, ...]) -> Outcome:
    """The failure, where two operators say what it rests on. Raises DisagreementError."""
    found = failed(
        "; ".join(problems),
        expected="known DstackKms and DstackApp builds behind ERC-1967 proxies",
        evidence=evidence,
        remediation="unknown code can allow anything: have it reviewed before you trust it",
    )
    return view.accuse(found, found.summary)


def _of_other_chains(view: ChainView) -> str:
    named = ", ".join(view.foreign)
    return f"{named} serves another chain than {view.plan.chain_id}, and does not count"


def _in_doubt(view: ChainView) -> str:
    named = ", ".join(view.doubtful)
    return f"{named} does not tell its chain and its finalized block, so nothing rests on it"


def _other_generation(code: ContractCode | None, record: KmsRecord) -> str:
    """The generation of the KMS's code where its record says another, else ""."""
    if code is None or record.generation in ("", code.generation):
        return ""
    return code.generation


def _implementation(
    reference: ReferenceValues, view: ChainView, address: str, role: str, problems: list[str]
) -> ContractCode | None:
    """The known build behind a proxy; problems are added when there is none."""
    block = hex(view.number)
    slot = view.read(contracts.get_implementation(address, block), contracts.decode_address).value
    if slot.lower() == ZERO_ADDRESS:
        problems.append(f"{address} is not an ERC-1967 proxy")
        return None
    code = view.read(contracts.get_code(slot, block), contracts.decode_bytes).value
    known = contracts.identify_code(reference.contracts, code, role)
    if known is None:
        problems.append(f"the {role} implementation {slot} is not a known build")
    return known


def _proxy_problems(reference: ReferenceValues, view: ChainView, app: str) -> list[str]:
    """The app's proxy must be known code: a false one shows any implementation it likes. The KMS
    is at an address that the record vouches for, and its proxy comes from a deploy tool."""
    block = hex(view.number)
    if not view.read(contracts.get_code(app, block), contracts.decode_bytes).value:
        return [f"there is no contract at the app id {app}"]
    if not _is_known_proxy(reference, view, app):
        return [f"the code at {app} is not a known proxy"]
    if not view.read(contracts.get_code(view.plan.kms, block), contracts.decode_bytes).value:
        return [f"there is no contract at the KMS address {view.plan.kms}"]
    return []


def _is_known_proxy(reference: ReferenceValues, view: ChainView, address: str) -> bool:
    code = view.read(contracts.get_code(address, hex(view.number)), contracts.decode_bytes).value
    return contracts.identify_code(reference.contracts, code, "proxy") is not None


def _getters(
    view: ChainView, app: str, boot: BootInfo
) -> tuple[dict[str, bool], Agreed[bool], tuple[EvidenceRef, ...]]:
    plan = view.plan
    image = contracts.ALLOWED_OS_IMAGES + contracts.word(boot.os_image_hash)
    compose = contracts.ALLOWED_COMPOSE_HASHES + contracts.word(boot.compose_hash)
    reads = {
        "OS image": view.call(plan.kms, image, contracts.decode_bool),
        "compose hash": view.call(app, compose, contracts.decode_bool),
    }
    if plan.mr_kms is not None:
        build = contracts.ALLOWED_KMS_BUILDS + contracts.word(plan.mr_kms)
        asked = contracts.eth_call(plan.kms, build, hex(view.number))
        if view.find(asked, contracts.decode_bool) is None:
            raise MissingEvidence(
                "no endpoint says whether the contract allows the build of the KMS the guest met",
                hint="collect again, or name another endpoint with --rpc-url",
            )
        reads["KMS build"] = view.call(plan.kms, build, contracts.decode_bool)
    if plan.app is not None:
        reads["registration"] = view.call(
            plan.kms,
            contracts.REGISTERED_APPS + contracts.word(plan.app_id),
            contracts.decode_bool,
        )
    any_device = view.call(app, contracts.ALLOW_ANY_DEVICE, contracts.decode_bool)
    evidence = tuple(ref for read in (*reads.values(), any_device) for ref in read.evidence)
    return {name: read.value for name, read in reads.items()}, any_device, evidence


def _ask(view: ChainView, boot: BootInfo) -> Agreed[tuple[bool, str]]:
    call = contracts.is_app_allowed(view.plan.kms, boot, hex(view.number))
    return view.read(call, contracts.decode_is_app_allowed)


def _device(view: ChainView, app: str, boot: BootInfo) -> bool:
    data = contracts.ALLOWED_DEVICE_IDS + contracts.word(boot.device_id)
    return view.call(app, data, contracts.decode_bool).value


def _actual(
    getters: dict[str, bool], any_device: Agreed[bool], answers: list[Agreed[tuple[bool, str]]]
) -> JsonValue:
    said: list[JsonValue] = [answer.value[0] or answer.value[1] for answer in answers]
    return {**getters, "any device": any_device.value, "isAppAllowed, by device id": said}


CHECKS: Final = (contract, allowed)
