"""`verify cache show`, `verify cache clear`: what is kept of the chain between audits."""

import json
from enum import StrEnum
from typing import Annotated

import typer


class CacheAction(StrEnum):
    """What to do with the cache."""

    SHOW = "show"
    CLEAR = "clear"


def tend_cache(
    action: Annotated[
        CacheAction, typer.Argument(metavar="show|clear", help="Show it, or remove it.")
    ],
) -> None:
    """Show or remove what is kept of the chain between audits: logs of finalized blocks.

    An audit is as good without it, and slower. What it holds is compared with live answers, and is
    never a reason to accuse an app.

    Examples:

      verify cache show

      verify cache clear
    """
    from verifier.api import (  # noqa: PLC0415
        clear_log_cache,
        default_log_cache,
        log_cache_contents,
    )
    from verifier.report.escape import visible  # noqa: PLC0415

    path = default_log_cache()
    if action is CacheAction.CLEAR:
        removed = clear_log_cache(path)
        print(f"{path}: removed" if removed else f"{path}: there is none")
        return
    kept = log_cache_contents(path)
    size = path.stat().st_size if path.exists() else 0
    print(f"{path}: {size:,} bytes, {len(kept)} scans")
    for item in kept:
        told = f"{item.answers} answers about {item.blocks} blocks, up to {item.last}"
        print(visible(f"  {_named(item.wanted)} at {item.endpoint}: {told}"))


def _named(filter_text: str) -> str:
    """A filter in words, or as it stands where it is none."""
    try:
        wanted = json.loads(filter_text)
        return f"{wanted['address']} on chain {wanted['chain_id']}"
    except (ValueError, TypeError, KeyError):
        return filter_text
