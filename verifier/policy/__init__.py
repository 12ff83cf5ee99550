"""Appraisal: whether what the evidence proves is acceptable to the relying party."""
