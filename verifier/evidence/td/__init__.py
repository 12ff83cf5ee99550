"""What the TD and its platform sign or measure: quotes, collateral, event logs, certificates."""
