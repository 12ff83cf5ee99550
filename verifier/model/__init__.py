"""The vocabulary that every layer shares: identifiers, claims, check results, reports."""
