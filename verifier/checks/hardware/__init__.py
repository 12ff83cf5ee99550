"""Intel root → PCK → QE → TD quote: whether it is a genuine TD, on an acceptable platform, now."""
