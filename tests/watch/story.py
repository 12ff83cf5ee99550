"""Three simulated apps, watched through an upgrade, an outage and a downgrade.

`python -m tests.watch.story` writes docs/watch-example.md, which a test holds against this.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from tests.watch.logs import KEY
from verifier.api import Audit, Past, Sources, collect_evidence
from verifier.cli.question import simulated_question
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import DEFAULT_NOW, Knobs
from verifier.lab.registry import Image
from verifier.lab.response import Response
from verifier.lab.sigstore import Sigstore, Workflow, provenance
from verifier.lab.world import World, build
from verifier.model.identifiers import format_time
from verifier.policy.policy import load_policy
from verifier.watch.alerts import Alert
from verifier.watch.log.check import check_log
from verifier.watch.observation import Observation, observe
from verifier.watch.rounds import watching

PAGE: Final = Path(__file__).parents[2] / "docs" / "watch-example.md"
PATIENCE: Final = 3
INTRODUCTION: Final = """\
Three simulated apps: evidence about each is collected anew, and audited, every half minute. Their
hardware, contracts and manifests are made up, and every line says so. `shop` is upgraded, `mail`
goes out and comes back, `vault` is upgraded and then put back to what it ran before, which its
contract no longer allows. An outage is told after three misses in a row."""
_BETWEEN: Final = 30
"""Seconds from round to round: the simulated KMS's answers count for five minutes."""


def _upgraded(knobs: Knobs) -> Knobs:
    """The app with an image of a later commit, in a manifest that its contract allows."""

    def attest(sigstore: Sigstore, image: Image) -> list[JsonObject]:
        statement = provenance(image.hex_digest, commit=image.revision)
        return [sigstore.sign(statement, Workflow(commit=image.revision))]

    return replace(knobs, image=Image("lab/web-nginx", revision="0f" * 20), attest=attest)


def _withdrawn(knobs: Knobs) -> Knobs:
    """The app as it was, whose manifest its contract allows no more."""
    return replace(knobs, compose_hash_on_chain="removed")


_SHOP, _MAIL, _VAULT = (Knobs(seed=name, app_name=name) for name in ("shop", "mail", "vault"))
_SHOP_2, _VAULT_2, _VAULT_3 = _upgraded(_SHOP), _upgraded(_VAULT), _withdrawn(_VAULT)
ROUNDS: Final[tuple[tuple[Knobs | None, Knobs | None, Knobs | None], ...]] = (
    (_SHOP, _MAIL, _VAULT),
    (_SHOP, _MAIL, _VAULT_2),
    (_SHOP_2, None, _VAULT_2),
    (_SHOP_2, None, _VAULT_2),
    (_SHOP_2, None, _VAULT_3),
    (_SHOP_2, _MAIL, _VAULT_3),
)
"""What each app is, round by round; None where it is out."""
_APPS: Final = (("shop", _SHOP), ("mail", _MAIL), ("vault", _VAULT))


class Told:
    """Keeps what it is told."""

    name = "story"

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def deliver(self, alert: Alert) -> None:
        """Take an alert."""
        self.alerts.append(alert)


def _respond(world: World, *, out: bool) -> Any:
    """The world's answers; an app that is out gives none."""

    def respond(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        silent = out and "-8090." in url
        return (
            Response(status=503, headers={}, body=b"out")
            if silent
            else world.respond(method, url, headers, body)
        )

    return respond


def observed(name: str, world: World, time: int, *, out: bool) -> Observation:
    """One audit of an app, whose evidence is collected anew."""
    question = simulated_question(world.app_id, world.reference(), time)
    sources = Sources(
        responder=_respond(world, out=out), handshakes=world.handshake, cloud=False, past=Past.APP
    )
    bundle = collect_evidence(question, sources, lambda: time)
    audit = Audit(target=world.app_id, question=question, bundle=bundle)
    return observe(audit.report(load_policy("baseline")), world.app_id, name)


def tell(folder: Path) -> list[Alert]:
    """The whole story, with its log in a directory."""
    told = Told()
    worlds = {id(knobs): build(knobs) for states in ROUNDS for knobs in states if knobs is not None}
    for number, states in enumerate(ROUNDS):
        # Each round is a run of its own, as from cron.
        with watching(folder, KEY, [told], PATIENCE) as watch:
            watch.begin_round()
            watch.take(
                [
                    observed(
                        name,
                        worlds[id(knobs or usual)],
                        DEFAULT_NOW + number * _BETWEEN,
                        out=knobs is None,
                    )
                    for (name, usual), knobs in zip(_APPS, states, strict=True)
                ]
            )
    return told.alerts


def page(alerts: list[Alert], entries: int) -> str:
    """The story as a page of the documentation."""
    lines = [
        "# A watch, as it went",
        "",
        *INTRODUCTION.splitlines(),
        "",
        "This page is written by `python -m tests.watch.story`, and a test holds it to that.",
        "",
    ]
    time = None
    for alert in alerts:
        if alert.time != time:
            lines += [f"## {format_time(alert.time)}", ""]
            time = alert.time
        lines += [f"* **{alert.change.severity.value}** {alert.text}"]
        if alert is alerts[-1] or alerts[alerts.index(alert) + 1].time != time:
            lines.append("")
    lines.append(f"The log holds {entries} observations, three of each round.")
    return "\n".join(lines) + "\n"


def story() -> str:
    """The page."""
    with tempfile.TemporaryDirectory() as folder:
        alerts = tell(Path(folder))
        found = check_log(Path(folder), KEY.verifier)
        assert not found.faults
        return page(alerts, found.entries)


if __name__ == "__main__":
    PAGE.write_text(story(), encoding="utf-8")
