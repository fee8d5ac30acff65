"""Files of observatories, and models of other codes."""
