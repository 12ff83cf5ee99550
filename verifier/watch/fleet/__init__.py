"""Many audits, each the same pure function: over processes of this machine, or over a cluster."""
