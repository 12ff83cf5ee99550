"""A permission that was given and taken back, of which no operator tells.

What the contract holds is the same with and without the pair, so that nothing here can notice it;
what is said of the history must leave room for it.
"""

import json
from functools import cache

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import AcceptedError, told
from verifier import render_json
from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab import keys
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms
from verifier.lab.knobs import Knobs

HIDDEN = keys.labelled("manifest of ten days", 32)


def for_ten_days(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    """Allow another manifest for a while."""
    app.add_compose_hash(forge.days_ago(chain, 20), HIDDEN)
    app.remove_compose_hash(forge.days_ago(chain, 10), HIDDEN)


def without_it(_operator: str, logs: list[JsonObject]) -> list[JsonObject]:
    """No log names it."""
    return [log for log in logs if HIDDEN.hex() not in json.dumps(log)]


@cache
def pair(*, hidden: bool) -> Audited:
    """The app's history with the pair."""
    return audit(Knobs(edit_chain=for_ten_days, edit_logs=without_it if hidden else None))


def test_the_pair_is_in_the_history_unless_it_is_hidden() -> None:
    for hidden in (False, True):
        events = pair(hidden=hidden).timeline().events
        assert any(HIDDEN.hex() in str(event.args) for event in events) is not hidden


def test_a_history_is_not_said_to_hold_every_event() -> None:
    audited = pair(hidden=True)
    results = audited.check("authorization.history")
    told_of_it = json.loads(render_json(audited.report))["history"]
    assert told_of_it
    texts = (*told_of_it, *(item.summary for item in results))
    if any("every event" in text.lower() for text in texts):
        raise AcceptedError(f"{told_of_it[0]}; {told(audited, results)}")
