"""Reference values: what genuine evidence is compared with, each with its origin and date."""
