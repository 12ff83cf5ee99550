"""The vocabulary of contracts and who owns them, which the timeline, the checks and the manifest's
rules share."""

from enum import StrEnum


class Role(StrEnum):
    """Which contract an event is about."""

    APP = "app"
    KMS = "kms"
    APP_OWNER = "app-owner"
    KMS_OWNER = "kms-owner"
    GATEWAY = "gateway"


class OwnerKind(StrEnum):
    """What kind of account an owner is."""

    EOA = "one key"
    SAFE = "Safe"
    TIMELOCK = "timelock"
    CONTRACT = "unknown contract"
    RENOUNCED = "renounced"
    UNKNOWN = "unknown"
