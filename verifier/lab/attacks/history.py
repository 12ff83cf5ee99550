"""Attacks on the past of the contracts: what happened, who was told, and who may do it again."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Final, cast

from msgspec.structs import replace

from verifier.evidence.bundle import Artifact, Kind
from verifier.evidence.codec import JsonObject
from verifier.lab import contracts, history, keys, owners
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import HONEST, Attack, missing, refused, warned
from verifier.lab.chain import Chain
from verifier.lab.contracts import AppTerms, DstackApp, DstackKms, deployment
from verifier.lab.events import OsImage
from verifier.lab.guest import manifest_text
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.owners import Safe, Timelock
from verifier.lab.response import Response
from verifier.lab.rpc import RpcFault
from verifier.model.result import Verdict

Logs = list[JsonObject]
EditLogs = Callable[[Logs], Logs]

_UNKNOWN_OWNER: Final = keys.labelled("owner of unknown code", 20)
_MIN_DELAY: Final = "getMinDelay()"
_OPERATOR_A: Final = "https://rpc-a.lab.invalid/"
_HISTORY: Final = "authorization.history"
_GOVERNANCE: Final = "authorization.governance"
_EARLIER: Final = history.EARLIER_COMPOSE_HASH.hex()
_OTHER: Final = keys.labelled("another allowed manifest", 32)
_ATTACKER: Final = keys.labelled("attacker's key", 20)
_ADDED: Final = "0x" + contracts.topic("ComposeHashAdded(bytes32)").hex()
_REMOVED: Final = "0x" + contracts.topic("ComposeHashRemoved(bytes32)").hex()


def past() -> Iterator[Attack]:
    """Logs that are left out, invented or changed, and state that no log explains."""
    yield from _logs()
    yield from _answers()
    yield from _state()
    yield from _cache()


def _logs() -> Iterator[Attack]:
    """Logs that say something else than happened."""
    hidden, invented = _without(_REMOVED, _EARLIER), _with_permission(_OTHER.hex())
    again = _with_permission(_EARLIER)
    for name, title, edit in (
        ("hidden", "hide a log from the middle", _middle_hidden),
        ("invented", "invent a log that changes nothing", again),
        ("of-another-block", "name another block for a log", _other_block),
        ("of-another-time", "give another time for a log", _other_time),
        ("content", "change what a log says", _other_content),
    ):
        knobs = Knobs(edit_logs=_at("a", edit))
        yield refused(f"log-{name}", _HISTORY, f"has one operator {title}", knobs)
    for name, title, edit in (
        ("hidden", "hide that a manifest is no longer allowed", hidden),
        ("invented", "say that another manifest was allowed", invented),
        ("of-owner-hidden", "hide who the owner is",
         _without("0x" + contracts.topic("OwnershipTransferred(address,address)").hex())),
    ):  # fmt: skip
        knobs = Knobs(edit_logs=_at("ab", edit))
        yield refused(f"log-{name}-everywhere", _HISTORY, f"has every operator {title}", knobs)


def _answers() -> Iterator[Attack]:
    """Answers that no honest node gives, and answers that are none."""
    for name, title, edit in (
        ("reordered", "give logs in another order", lambda logs: logs[::-1]),
        ("duplicated", "give a log twice", lambda logs: logs + logs[-1:]),
        ("of-another-contract", "give a log of another contract",
         _changed(address="0x" + _ATTACKER.hex())),
        ("removed", "give a log that a reorganisation took back", _changed(removed=True)),
        ("not-hex", "spell a number with a leading zero", _changed(logIndex="0x00")),
    ):  # fmt: skip
        knobs = Knobs(edit_logs=_at("a", edit))
        yield refused(f"answer-{name}", _HISTORY, f"has one operator {title}", knobs)
    title = "has every operator forget old logs"
    knobs = Knobs(rpc_faults=dict.fromkeys("ab", RpcFault.PRUNED))
    yield refused("rpc-pruned-everywhere", _HISTORY, title, knobs)
    title = "has one operator forget old logs, and say that there are none"
    yield refused("rpc-pruned", _HISTORY, title, Knobs(rpc_faults={"a": RpcFault.PRUNED}))
    for fault, title in (
        (RpcFault.NO_LOGS, "answer that there are no logs"),
        (RpcFault.DROPPED_LOG, "drop a log"),
        (RpcFault.INVENTED_LOG, "invent a log"),
        (RpcFault.DUPLICATED_LOG, "give a log twice"),
        (RpcFault.REORDERED_LOGS, "give the logs in another order"),
    ):
        knobs = Knobs(rpc_faults={"a": fault})
        yield refused(f"rpc-{fault}", _HISTORY, f"has one operator {title}", knobs)
    title = "has every operator answer that there are no logs"
    knobs = Knobs(rpc_faults=dict.fromkeys("ab", RpcFault.NO_LOGS))
    yield refused("rpc-no-logs-anywhere", _HISTORY, title, knobs)
    title = "has one operator give times that are hours ahead"
    future = {"a": RpcFault.FUTURE_BLOCK}
    yield refused("rpc-future-block", "authorization.contract", title, Knobs(rpc_faults=future))
    why = "a block from the future says nothing about now"
    title = "has every operator give times that are hours ahead"
    knobs = Knobs(rpc_faults=dict.fromkeys("ab", RpcFault.FUTURE_BLOCK))
    yield missing("rpc-future-block-everywhere", "authorization.allowed", title, knobs, why)
    title = "has one operator answer what only one of two readers can read"
    twice = {"edit_artifact": _of_many_bytes, "second_opinion": True}
    yield refused("answer-of-two-readings", "key_management.provider", title, HONEST, **twice)


def _state() -> Iterator[Attack]:
    """What contracts hold without a log that says so, and contracts that nobody made honestly."""
    for name, title, edit in (
        ("silent-flag", "lets any device run the app, without an event", _silent_flag),
        ("silent-removal", "allows a withdrawn manifest again, without an event",
         _silent_permission),
        ("silent-owner", "changes the owner without an event", _silent_owner),
        ("silent-owner-and-back", "takes the app without an event, and gives it back with one",
         _silent_owner_and_back),
    ):  # fmt: skip
        yield refused(name, _HISTORY, title, Knobs(edit_chain=edit))
    title = "changes the KMS's root key without an event"
    knobs = Knobs(edit_chain=_silent_root_key)
    yield refused("silent-root-key", "key_management.provider", title, knobs)
    title = "swaps the app's code for a week, and back"
    twin = Knobs(edit_chain=forge.upgraded_to_known)
    knobs = Knobs(edit_chain=forge.swapped_and_back)
    yield refused("swapped-and-back", _HISTORY, title, knobs, twin=twin)
    knobs = Knobs(edit_chain=forge.swapped_and_back, rpc_faults={"b": RpcFault.ERROR})
    title = "has one operator alone say that the app's code was swapped, and back"
    twin = Knobs(edit_chain=forge.upgraded_to_known)
    yield refused("swapped-says-one", _HISTORY, title, knobs, twin=twin)
    title = (
        "shows an old quote, and has unknown code date the permission, before it is swapped back"
    )
    why = "unknown code gives any event at any time, so that none of them bounds the quote's age"
    knobs = Knobs(edit_chain=forge.swapped_and_back)
    yield warned("swapped-and-dated", "hardware.freshness", title, knobs, why, twin=twin)
    title = "has unknown code tell of an upgrade to nothing, before the app's code is swapped back"
    knobs = Knobs(edit_chain=_spoilt)
    yield refused("swapped-and-spoilt", _HISTORY, title, knobs, twin=twin)
    why = "only the KMS's factory is known to set only what it was asked for"
    for name, title, made in (
        ("outside-factory", "deploys the app itself, with a permission in no event", _own),
        ("other-factory", "has a factory of its own deploy the app, under honest words", _other),
    ):
        knobs = Knobs(app_on_chain=False, edit_chain=made)
        yield warned(f"app-{name}", _HISTORY, title, knobs, why)
    title = "hides that the KMS allowed the OS image again, after it had been removed"
    removed = "0x" + contracts.topic("OsImageHashAdded(bytes32)").hex()
    knobs = Knobs(edit_chain=image_allowed_again, edit_logs=_at("ab", _last_hidden(removed)))
    twin = Knobs(edit_chain=image_allowed_again)
    yield refused("image-again-hidden", _HISTORY, title, knobs, twin=twin)


def _spoilt(chain: Chain, app: DstackApp, kms: DstackKms) -> None:
    """Unknown code that the app runs for a week gives an Upgraded event that no proxy gives."""
    forge.swapped_and_back(chain, app, kms)
    with app.owner.act(forge.days_ago(chain, 15), app.address, b"") as tx:
        topics = (contracts.topic("Upgraded(address)"),)
        chain.emit(tx, app.address, topics, bytes(32))


def _cache() -> Iterator[Attack]:
    """What a cache of earlier answers holds, which nobody asks a node for again."""
    kept = {"twin_edit_artifact": _poisoned(lambda logs: logs)}
    for name, title, edit in (
        ("hidden", "takes a log out of the cache", _without(_REMOVED, _EARLIER)),
        ("invented", "puts a log into the cache", _allowed_again),
        ("hash", "puts a log of another block into the cache", _other_block),
    ):
        poison = {"edit_artifact": _poisoned(edit)}
        yield refused(f"cache-{name}", _HISTORY, title, HONEST, **poison, **kept)


def _speechless_owner(chain: Chain, app: DstackApp, kms: DstackKms) -> None:
    """App and KMS are handed over to code that nobody knows and that answers nothing."""
    code = contracts.runtime_code("owner of unknown code")
    chain.define(code, contracts.dispatch({}))
    chain.set_code(forge.days_ago(chain, 60), _UNKNOWN_OWNER, code)
    for contract in (app, kms):
        contract.transfer_ownership(forge.days_ago(chain, 50), _UNKNOWN_OWNER)


def _owner_of_its_word(chain: Chain, app: DstackApp, kms: DstackKms) -> None:
    """App and KMS are handed over to code that nobody knows and that names 30 days of notice."""
    _speechless_owner(chain, app, kms)
    chain.overrides[_UNKNOWN_OWNER, contracts.selector(_MIN_DELAY)] = contracts.encode(30 * DAY)


def _one_says_delay(_method: str, url: str, body: bytes, response: Response) -> Response:
    """One operator says that an owner which refuses the question is a timelock of 30 days."""
    asked = contracts.selector(_MIN_DELAY).hex().encode() in body
    if url != _OPERATOR_A or not asked or _UNKNOWN_OWNER.hex().encode() not in body:
        return response
    answer = {"jsonrpc": "2.0", "id": 1, "result": "0x" + contracts.encode(30 * DAY).hex()}
    return replace(response, status=200, body=json.dumps(answer).encode())


def _lone_logs(_method: str, url: str, body: bytes, response: Response) -> Response:
    """One operator gives no logs of the app's timelock, and the other hides a proposer."""
    timelock = history.app_owner(Chain("", 0, HONEST.now, 0), HONEST).address.hex().encode()
    if b"eth_getLogs" not in body or timelock not in body:
        return response
    answer = json.loads(response.body)
    if url != _OPERATOR_A:
        answer = {**answer, "error": {"code": -32000, "message": "internal error"}}
        answer.pop("result", None)
    elif isinstance(answer.get("result"), list):
        logs = answer["result"]
        answer["result"] = [log for log in logs if _ATTACKER.hex() not in str(log["topics"])]
    return replace(response, body=json.dumps(answer).encode())


def _unknown_owners(demands: str) -> Iterator[Attack]:
    """Code that nobody knows owns the contracts: behind it may be one key."""
    checks = f"{_GOVERNANCE} manifest.rules"
    silent, word = Knobs(edit_chain=_speechless_owner), Knobs(edit_chain=_owner_of_its_word)
    why = "unknown code may wait and ask several keys; nobody knows"
    title = "hides the key that owns the contracts behind code that nobody knows"
    yield warned("owner-unknown", checks, title, silent, why)
    title = "has unknown code that owns the contracts name 30 days of notice"
    yield warned("owner-own-word", checks, title, word, why)
    for name, title, knobs in (
        ("owner-unknown-demanded", "hides the owning key from who demands several keys", silent),
        ("owner-own-word-demanded", "has unknown code name the notice that is demanded", word),
    ):
        yield missing(name, _GOVERNANCE, title, knobs, why, governance=demands)
    title = "has one operator say that an owner which answers nothing waits for 30 days"
    knobs = Knobs(edit_chain=_speechless_owner, edit_response=_one_says_delay)
    yield refused("owner-by-one-operator", _GOVERNANCE, title, knobs)


def _behind_safes(several: str) -> Iterator[Attack]:
    """A Safe of known code that needs fewer keys than its threshold says."""
    why = "what code signs, and for how many keys, is known to nobody"
    title = "makes contracts the signers of the Safe, which one key may command"
    knobs = Knobs(edit_chain=_signed_by_code)
    yield warned("signers-with-code", f"{_GOVERNANCE} manifest.rules", title, knobs, why)
    yield missing("signers-with-code-demanded", _GOVERNANCE, title, knobs, why, governance=several)
    title = "has the Safe pass calls of anybody on to the timelock that it proposes to"
    knobs = Knobs(edit_chain=_passed_on)
    yield refused("safe-passes-calls-on", _GOVERNANCE, title, knobs, governance=several)
    why = "the guest is genuine; anybody may change what it runs"
    yield warned("safe-passes-calls-on-undemanded", "manifest.rules", title, knobs, why)


def governed() -> Iterator[Attack]:
    """Who may change the contracts, where the relying party has demands."""
    several, notice = "several_keys = true", "notice_days = 7"
    one = Knobs(governance="key")
    yield refused("one-key", _GOVERNANCE, "changes what runs with one key", one,
                  governance=several)  # fmt: skip
    title = "changes what runs at once"
    yield refused("no-notice", _GOVERNANCE, title, one, governance=notice)
    title = "changes what runs at once, with several keys"
    knobs = Knobs(governance="safe")
    yield refused("safe-without-notice", _GOVERNANCE, title, knobs, governance=notice)
    for name, title, edit, demand in (
        ("kms-owner", "has one key own the KMS", _kms_to_key, several),
        ("kms-owner-at-once", "has an owner of the KMS who waits for nothing", _kms_to_key, notice),
        ("admin", "lets one key decide who proposes to the timelock", _admin, several),
        ("proposer", "lets one key propose to the timelock", _proposer, several),
        ("delay-lowered", "lowers the delay of the timelock to a day", _hurried, notice),
        ("threshold-lowered", "lowers the threshold of the Safe to one key", _threshold, several),
    ):
        knobs = Knobs(edit_chain=edit)
        yield refused(name, _GOVERNANCE, title, knobs, governance=demand)
    why = "how many keys act for a module is known to nobody"
    title = "enables a module, which acts for the Safe without its owners"
    knobs = Knobs(governance="safe", edit_chain=_module)
    twin = {"twin": Knobs(governance="safe"), "twin_verdict": Verdict.WARNING}
    yield missing("module", _GOVERNANCE, title, knobs, why, governance=several, **twin)
    yield from _behind_safes(several)
    why = "what one operator leaves out of the only logs of a timelock is seen by nobody"
    title = "has one operator hide who may propose, where the other gives no logs of the timelock"
    knobs = Knobs(edit_chain=_proposer, edit_response=_lone_logs)
    yield warned("proposer-hidden-by-one", f"{_GOVERNANCE} manifest.rules", title, knobs, why)
    yield from _unknown_owners(f"{several}\n{notice}")
    twin = {"twin": Knobs(upgrades_disabled=True)}
    title = "keeps the right to replace the contract's code"
    demand = "upgrades_disabled = true"
    yield refused("upgradable", _GOVERNANCE, title, HONEST, governance=demand, **twin)
    title = "keeps another manifest allowed that nobody has seen"
    knobs = Knobs(edit_chain=_another_allowed)
    yield refused("unknown-manifest", _GOVERNANCE, title, knobs,
                  governance="max_unknown_manifests = 0")  # fmt: skip
    why = "another manifest may be a good one; nobody has shown it"
    yield warned("unknown-manifest-undemanded", _GOVERNANCE, title, knobs, why)
    title = "hands the app over to somebody else"
    owner = history.app_owner(Chain("", 0, HONEST.now, 0), HONEST).address.hex()
    knobs = Knobs(edit_chain=_app_to_key)
    yield refused("another-owner", _GOVERNANCE, title, knobs, governance=f'owners = ["0x{owner}"]')


def image_allowed_again(chain: Chain, _app: DstackApp, kms: DstackKms) -> None:
    """The KMS no longer allowed the OS image for a week, then allowed it again."""
    image = OsImage(HONEST.os_image).os_image_hash
    kms.remove_os_image(forge.days_ago(chain, 40), image)
    kms.add_os_image(forge.days_ago(chain, 33), image)


def _at(operators: str, edit: EditLogs) -> Callable[[str, Logs], Logs]:
    """An edit of what these operators answer."""
    return lambda operator, logs: edit(logs) if operator in operators else logs


def _is_about(log: JsonObject, topic: str, value: str) -> bool:
    return cast("list[str]", log["topics"])[0] == topic and value in str(log["data"])


def _without(topic: str, value: str = "") -> EditLogs:
    return lambda logs: [log for log in logs if not _is_about(log, topic, value)]


def _last_hidden(topic: str) -> EditLogs:
    def edit(logs: Logs) -> Logs:
        last = [log for log in logs if _is_about(log, topic, "")][-1:]
        return [log for log in logs if log not in last]

    return edit


def _middle_hidden(logs: Logs) -> Logs:
    return logs[: len(logs) // 2] + logs[len(logs) // 2 + 1 :]


def _with_permission(value: str) -> EditLogs:
    """A permission in the block of the first one, after everything else in it."""

    def edit(logs: Logs) -> Logs:
        found: Logs = []
        for log in logs:
            if _is_about(log, _ADDED, _EARLIER):
                number = int(str(log["logIndex"]), 16) + 50
                found.append({**log, "logIndex": hex(number), "data": "0x" + value})
        return sorted(logs + found, key=_place)

    return edit


def _place(log: JsonObject) -> tuple[int, int]:
    return int(str(log["blockNumber"]), 16), int(str(log["logIndex"]), 16)


def _allowed_again(logs: Logs) -> Logs:
    """A permission for the earlier manifest, right after it was withdrawn."""
    found: Logs = []
    for log in logs:
        found.append(log)
        if _is_about(log, _REMOVED, _EARLIER):
            number = int(str(log["logIndex"]), 16) + 50
            found.append({**log, "logIndex": hex(number), "topics": [_ADDED]})
    return found


def _changed(**fields: str | bool) -> EditLogs:
    """Other fields for the last log."""
    return lambda logs: [*logs[:-1], *({**log, **fields} for log in logs[-1:])]


def _other_block(logs: Logs) -> Logs:
    return _changed(blockHash="0x" + "5e" * 32)(logs)


def _other_time(logs: Logs) -> Logs:
    return _changed(blockTimestamp=hex(HONEST.now - 30 * DAY))(logs)


def _other_content(logs: Logs) -> Logs:
    return [{**log, "data": "0x" + _OTHER.hex()} if _is_about(log, _ADDED, "") else log
            for log in logs]  # fmt: skip


def _poisoned(edit: EditLogs) -> Callable[[Artifact, bytes], bytes]:
    """Log scans as if every answer came from a cache, in which somebody edited the logs."""

    def change(artifact: Artifact, raw: bytes) -> bytes:
        if artifact.kind is not Kind.LOG_SCAN:
            return raw
        document = json.loads(raw)
        for item in document["answers"]:
            answer = json.loads(item["answer"])
            answer["result"] = edit(answer["result"])
            item |= {"answer": json.dumps(answer), "cached": True}
        return json.dumps(document).encode()

    return change


def _of_many_bytes(artifact: Artifact, raw: bytes) -> bytes:
    """One operator's blocks with a size, which no hash covers, that is no number."""
    if artifact.kind is not Kind.JSON_RPC or "eth_getBlockByNumber" not in artifact.request:
        return raw
    if not artifact.source.startswith("https://rpc-a."):
        return raw
    answer = json.loads(raw)
    answer["result"]["size"] = "many"
    return json.dumps(answer).encode()


def _silent_flag(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    chain.store(forge.days_ago(chain, 20), app.address, 1, b"\1\0")


def _silent_permission(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    slot = contracts.element(0, history.EARLIER_COMPOSE_HASH)
    chain.store(forge.days_ago(chain, 1), app.address, slot, b"\1")


def _silent_owner(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    chain.store(forge.days_ago(chain, 20), app.address, contracts.ERC7201_OWNER, _ATTACKER)


def _silent_owner_and_back(chain: Chain, app: DstackApp, kms: DstackKms) -> None:
    _silent_owner(chain, app, kms)
    app.transfer_ownership(forge.days_ago(chain, 3), app.owner.address)


def _silent_root_key(chain: Chain, _app: DstackApp, kms: DstackKms) -> None:
    chain.store_bytes(forge.days_ago(chain, 20), kms.address, 0, b"\2" * 33)


def _own(chain: Chain, app: DstackApp, kms: DstackKms) -> None:
    """A proxy of known code, whose constructor wrote one more permission than it logged."""
    _deploy(chain, app, kms, None, "initialize")


def _other(chain: Chain, app: DstackApp, kms: DstackKms) -> None:
    """The same by a contract that is called as the KMS's factory is."""
    _deploy(chain, app, kms, keys.labelled("another factory", 20), "deployAndRegisterApp")


def _deploy(chain: Chain, app: DstackApp, kms: DstackKms, to: bytes | None, function: str) -> None:
    block = forge.days_ago(chain, 30)
    device = history.device_id(HONEST, HONEST.seed)
    measured = hashlib.sha256(manifest_text(HONEST).encode()).digest()
    terms = AppTerms(device_id=device, compose_hash=measured)
    deployer = contracts.Key(chain, _ATTACKER)
    calldata = deployment(function, _ATTACKER, terms)
    code = b"" if to else contracts.runtime_code("proxy")
    tx = chain.transact(block, _ATTACKER, to, code + calldata)
    made = DstackApp(chain, app.address, deployer)
    made.create(tx, history.APP_IMPLEMENTATION, terms)
    chain.store(block, app.address, contracts.element(0, _OTHER), b"\1")
    kms.register(chain.transact(block + 1, _ATTACKER, kms.address, b""), app.address)


def _kms_to_key(chain: Chain, _app: DstackApp, kms: DstackKms) -> None:
    kms.transfer_ownership(forge.days_ago(chain, 20), _ATTACKER)


def _app_to_key(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    app.transfer_ownership(forge.days_ago(chain, 3), _ATTACKER)


def _admin(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    timelock = cast("Timelock", app.owner)
    timelock.grant(forge.days_ago(chain, 20), owners.ADMIN_ROLE, _ATTACKER)


def _proposer(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    timelock = cast("Timelock", app.owner)
    timelock.grant(forge.days_ago(chain, 20), owners.PROPOSER_ROLE, _ATTACKER)


def _hurried(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    cast("Timelock", app.owner).set_delay(forge.days_ago(chain, 1), DAY)


def _threshold(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    cast("Timelock", app.owner).proposer.change_threshold(forge.days_ago(chain, 1), 1)


def _module(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    cast("Safe", app.owner).enable_module(forge.days_ago(chain, 20), _ATTACKER)


def _signed_by_code(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    code = contracts.runtime_code("signs what one key says")
    chain.define(code, contracts.dispatch({}))
    for signer in cast("Timelock", app.owner).proposer.signers:
        chain.set_code(forge.days_ago(chain, 20), signer, code)


def _passed_on(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    timelock = cast("Timelock", app.owner)
    timelock.proposer.pass_on(forge.days_ago(chain, 20), timelock.address)


def _another_allowed(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    app.add_compose_hash(forge.days_ago(chain, 20), _OTHER)
