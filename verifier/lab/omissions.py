"""Answers that leave something out, as the knobs of a simulated world take them."""

import json

from verifier.lab.forgeries import ResponseEdit, body_of
from verifier.lab.response import NOT_FOUND, Response


def info_without(*names: str) -> ResponseEdit:
    """Leave fields out of the Info answer."""

    def edit(raw: bytes) -> bytes:
        info = json.loads(raw)
        return json.dumps({name: info[name] for name in info if name not in names}).encode()

    return body_of("/prpc/Info", edit)


def page_hidden(_method: str, url: str, _body: bytes, response: Response) -> Response:
    """Answer that there is no page."""
    return NOT_FOUND if url.endswith("gw.lab.invalid/") else response


def undated_env_key(*names: str) -> ResponseEdit:
    """The KMS's answer about an environment key without these members."""

    def edit(raw: bytes) -> bytes:
        answer = json.loads(raw)
        return json.dumps({key: answer[key] for key in answer if key not in names}).encode()

    return body_of("GetAppEnvEncryptPubKey", edit)
