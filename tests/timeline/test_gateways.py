"""Every gateway that a KMS lets carry traffic, or ever let, has its own history followed."""

from collections.abc import Sequence

from verifier.audit import app_timeline
from verifier.cli.question import simulated_question
from verifier.collection import Past, Sources, collect_evidence
from verifier.lab import forgeries as forge
from verifier.lab import history, keys
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms
from verifier.lab.knobs import Knobs
from verifier.lab.world import build
from verifier.model.chain import Role
from verifier.model.timeline import Timeline
from verifier.timeline.history import MAX_GATEWAYS


def timeline(*texts: str) -> Timeline:
    """The history of an app whose KMS named these gateways one after the other."""

    def edit(chain: Chain, _app: DstackApp, kms: DstackKms) -> None:
        for index, text in enumerate(texts):
            kms.set_gateway_app_id(forge.days_ago(chain, 40 - index), text)

    world = build(Knobs(edit_chain=edit))
    question = simulated_question(world.app_id, world.reference(), world.now)
    sources = Sources(responder=world.respond, cloud=False, past=Past.GATEWAY)
    bundle = collect_evidence(question, sources, lambda: world.now)
    return app_timeline(bundle, question)


def gateways(found: Timeline) -> list[str]:
    return [item.address.lower() for item in found.coverage if item.role is Role.GATEWAY]


def ids(count: int) -> Sequence[str]:
    return [keys.labelled(f"gateway {index}", 20).hex() for index in range(count)]


def test_gateways_beyond_two_and_those_of_the_past_are_followed() -> None:
    first, second, third, former = ids(4)
    found = timeline(former, f"{first},{second},{third}")
    own = history.GATEWAY_APP_ID.lower()
    assert gateways(found) == ["0x" + item for item in (first, second, third, former)] + [own]
    assert not any("were not followed" in note for note in found.notes)
    ran = {event.name for event in found.events if event.role is Role.GATEWAY}
    assert "ComposeHashAdded" in ran


def test_a_text_that_names_more_than_can_be_followed_says_so() -> None:
    many = ids(MAX_GATEWAYS + 4)
    found = timeline(",".join(many))
    assert gateways(found) == ["0x" + item for item in many[:MAX_GATEWAYS]]
    assert f"{4 + 1} more gateways" in " ".join(found.notes)


def test_one_gateway_that_never_changed_is_followed_alone() -> None:
    assert gateways(timeline()) == [history.GATEWAY_APP_ID.lower()]
