"""The command as a user runs it, for the tests of `verify lint`."""

from tests.cli.conftest import run

__all__ = ["run"]
