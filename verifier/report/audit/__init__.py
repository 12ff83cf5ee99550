"""An audit in every format, and as a signed statement."""
