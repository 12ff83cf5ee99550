"""Differences between manifests: what an update, or another instance, lets somebody do."""

from verifier.manifest.diff.change import RULES, Change, Comparison, DiffRule
from verifier.manifest.diff.comparison import compare
from verifier.manifest.diff.deploy_paths import (
    VMM_FLAGS,
    DeployPath,
    compose_paths,
    deploy_paths,
    oddities,
)
from verifier.manifest.diff.document import Document, Fact, read_compose_document, read_document
from verifier.manifest.diff.table import Row, divergence_table

__all__ = [
    "RULES",
    "VMM_FLAGS",
    "Change",
    "Comparison",
    "DeployPath",
    "DiffRule",
    "Document",
    "Fact",
    "Row",
    "compare",
    "compose_paths",
    "deploy_paths",
    "divergence_table",
    "oddities",
    "read_compose_document",
    "read_document",
]
