"""Appraisal: is what the evidence proves acceptable to the relying party?"""
