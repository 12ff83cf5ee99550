"""A comparison as canonical JSON (RFC 8785), schema `dstack-audit/diff/v1`.

`comparisons` are between each document and the next; `old` and `new` count from 0.
"""

import msgspec
import rfc8785

from verifier.report.audit.json import encodable
from verifier.report.diff.told import ToldDiff


def render_json(told: ToldDiff) -> bytes:
    """The comparison as one line of canonical JSON with a new line at its end."""
    return rfc8785.dumps(encodable(msgspec.to_builtins(told))) + b"\n"
