"""Shell scripts, read as a shell would: what is run, with which words, and where it writes."""
