"""Who is told of a change: a stream or a file of JSON lines, a webhook, a program."""

import base64
import hashlib
import hmac
import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from verifier.errors import CollectError, UsageError
from verifier.evidence.regular_file import read_given
from verifier.watch.alerts import Alert, NotDelivered, encode

TIMEOUT: Final = 20.0
"""Seconds that one recipient may take for one alert."""
_SECRET: Final = "whsec_"  # noqa: S105 - what a secret begins with
_LEAST_SECRET: Final = 16
_MOST_SECRET: Final = 1 << 16


class Printed:
    """Every alert by a function that prints it."""

    name = "stdout"

    def __init__(self, printed: Callable[[Alert], None]) -> None:
        self._print = printed

    def deliver(self, alert: Alert) -> None:
        """Print it. An error of the stream ends the program, as it does elsewhere."""
        self._print(alert)


class Lines:
    """A file of JSON lines, which only grows."""

    def __init__(self, path: Path) -> None:
        self.name = f"file {path.absolute()}"
        self._path = path

    def deliver(self, alert: Alert) -> None:
        """Write it, to the disk; a line that was cut off stays one of its own. Raises
        NotDelivered."""
        try:
            with self._path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    cut = file.read(1) != b"\n"
                    file.write(b"\n" if cut else b"")
                file.write(encode(alert) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NotDelivered(f"{self._path}: {error.strerror or error}") from error


class Webhook:
    """An address that takes signed alerts, in the headers of the Standard Webhooks specification.

    webhook-id         the alert's id, with the log's origin before it
    webhook-timestamp  Unix seconds
    webhook-signature  v1,BASE64(HMAC-SHA256(secret, ID.TIMESTAMP.BODY))
    """

    def __init__(self, url: str, secret: bytes, origin: str, clock: Callable[[], int]) -> None:
        # What comes after the host is often a secret, and a name is shown.
        self._shown = f"webhook at {urlsplit(url).hostname}"
        self.name = f"{self._shown} ({hashlib.sha256(url.encode()).hexdigest()[:8]})"
        self._url = url
        self._secret = secret
        self._origin = origin
        self._clock = clock

    def deliver(self, alert: Alert) -> None:
        """Send it. Raises NotDelivered."""
        from verifier.api import post_document  # noqa: PLC0415 - only where something changed

        body, at = encode(alert), str(self._clock())
        identifier = f"{self._origin}#{alert.id}"
        signed = b".".join((identifier.encode(), at.encode(), body))
        signature = base64.b64encode(hmac.digest(self._secret, signed, hashlib.sha256)).decode()
        headers = {
            "webhook-id": identifier,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{signature}",
        }
        try:
            post_document(self._url, body, headers, self._clock, TIMEOUT)
        except CollectError as error:
            told = error.message.partition(": ")[2] or error.message
            raise NotDelivered(told.replace(self._url, self._shown), hint=error.hint) from error


class Program:
    """A program that is given each alert as JSON on its standard input; no shell reads its
    arguments."""

    def __init__(self, words: str, timeout: float = TIMEOUT) -> None:
        try:
            self._words = shlex.split(words)
        except ValueError as error:
            raise UsageError(f"--exec {words!a}: {error}", hint="close the quotes") from error
        if not self._words:
            raise UsageError("--exec is empty", hint="name a program and its arguments")
        # Its arguments may hold a secret, as an address does.
        digest = hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest()
        self.name = f"program {self._words[0]} ({digest[:8]})"
        self._timeout = timeout

    def deliver(self, alert: Alert) -> None:
        """Run it, and wait; what it started is ended with it. Raises NotDelivered where it does not
        end well, or in time."""
        try:
            process = subprocess.Popen(  # noqa: S603 - the user named it, and no shell reads it
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise NotDelivered(f"{self._words[0]}: {error.strerror or error}") from error
        try:
            with suppress(BrokenPipeError):
                process.communicate(encode(alert) + b"\n", self._timeout)
            code = process.wait(self._timeout)
        except subprocess.TimeoutExpired as error:
            raise NotDelivered(
                f"{self._words[0]}: it did not end within {self._timeout:g} seconds"
            ) from error
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code:
            raise NotDelivered(f"{self._words[0]}: it ended with {code}")


def webhook_secret(text: str) -> bytes:
    """The secret of a webhook: `whsec_` and base64, or the file that holds that, or that holds any
    other text. Raises UsageError."""
    if not text.startswith(_SECRET):
        try:
            raw = read_given(Path(text), _MOST_SECRET)
            text = raw.decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            told = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UsageError(f"--webhook-key {text}: {told}", hint="name a file") from error
        if len(raw) > _MOST_SECRET:
            raise UsageError(
                f"--webhook-key: it has more than {_MOST_SECRET} bytes", hint="name another file"
            )
    secret = text.encode()
    if text.startswith(_SECRET):
        try:
            secret = base64.b64decode(text.removeprefix(_SECRET), validate=True)
        except ValueError as error:
            raise UsageError("--webhook-key: after whsec_, it is no base64") from error
    if len(secret) < _LEAST_SECRET:
        raise UsageError(
            f"--webhook-key: a secret of {len(secret)} bytes is too short",
            hint=f"give {_LEAST_SECRET} bytes or more, such as from: openssl rand -base64 32",
        )
    return secret
