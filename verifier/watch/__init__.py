"""Many apps, over time: above the front door, which audits one app once."""
