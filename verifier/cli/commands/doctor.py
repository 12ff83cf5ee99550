"""`verify doctor`: which sources of evidence answer from here."""

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.clock import now
from verifier.cli.streams import progress, warn

if TYPE_CHECKING:
    from verifier.evidence.sources import Outlook, Sounding

_ENOUGH: Final = 5
_TOO_FEW: Final = 3
_ADVICE: Final = {
    "COLLATERAL": "name a PCCS with --pccs-url, or import the collateral from elsewhere",
    "GUESTS": "the apps behind a silent gateway give no fresh evidence; import what they gave you",
    "KMS": "the keys of the apps of a silent KMS are not confirmed by it",
    "CHAIN": "name other endpoints with --rpc-url, of two operators for each chain",
    "LOGS": "nothing, as long as two operators of each chain answer above",
    "IMAGES": "provenance.images lacks evidence; import manifests with `verify import`",
    "ENDPOINT": "endpoint.domain lacks evidence",
    "HINTS": "name the app by its id, not by a domain or as the cloud lists it",
    "RELEASES": "measure an image from files that you have: verify image DIR",
}
"""What to do where sources of a purpose (its name) do not answer."""

_LONGEST: Final = 110
"""Letters of an answer that are shown."""


def examine(
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="SECONDS", min=0.1, max=600, help="Wait so long at most."),
    ] = 10.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one object a source.")
    ] = False,
) -> None:
    """Ask every source of evidence one question, all at once, and say which answer from here.

    It asks gateways, Intel's collateral, key management services, the endpoints of each chain,
    registries, the name server and the cloud's API; nothing about your app is sent. A gateway is
    asked for an app that does not exist, so that it may refuse and still work.

    Exit codes: 0 every source answers, 5 some do not and an audit can be made, 3 an audit cannot be
    made: without a network, without Intel's collateral, a gateway, or an endpoint of any chain.

    Examples:

      verify doctor

      verify doctor --wait 3 --json
    """
    from verifier.api import Sources, examine_sources  # noqa: PLC0415
    from verifier.evidence.sources import Outlook, outlook  # noqa: PLC0415
    from verifier.reference.values import embedded  # noqa: PLC0415
    from verifier.report.escape import visible  # noqa: PLC0415

    progress("asking every source")
    found = examine_sources(embedded(), Sources(timeout=wait), now)
    judged = outlook(found)
    if as_json:
        for item in found:
            print(json.dumps({**_fields(item)}, sort_keys=True))
    elif judged is Outlook.NO_NETWORK:
        why = found[0].said
        warn(
            f"no source answers: there is no network here, or nothing gets out ({visible(why)}); "
            "files that you have can be audited all the same: verify import --help"
        )
    else:
        _print(found, judged)
    raise typer.Exit({Outlook.ALL: 0, Outlook.ENOUGH: _ENOUGH}.get(judged, _TOO_FEW))


def _fields(item: "Sounding") -> dict[str, object]:
    return {
        "purpose": item.purpose.name.lower(),
        "place": item.place,
        "operator": item.operator,
        "group": item.group,
        "works": item.works,
        "said": item.said,
        "cause": item.cause.value,
    }


def _print(found: "tuple[Sounding, ...]", judged: "Outlook") -> None:
    """Each purpose with how many of its sources answer, and those that do not by name."""
    from verifier.evidence.sources import Purpose, short_of_operators  # noqa: PLC0415
    from verifier.report.escape import visible  # noqa: PLC0415

    for purpose in Purpose:
        asked = [item for item in found if item.purpose is purpose]
        if not asked:
            continue
        silent = [item for item in asked if not item.works]
        mark = "ok  " if not silent else "part" if len(silent) < len(asked) else "none"
        print(f"{mark}  {purpose.value}: {len(asked) - len(silent)} of {len(asked)} answer")
        for item in silent:
            about = f" ({item.group})" if item.group else ""
            print(f"        {visible(item.place)}{about}: {visible(item.said)[:_LONGEST]}")
        if silent:
            print(f"      next: {_ADVICE[purpose.name]}")
    for group in short_of_operators(found):
        print(f"      {group}: fewer than two operators answer, so what it says is a warning")
    print(f"{judged.value[0].upper()}{judged.value[1:]} from here.")
