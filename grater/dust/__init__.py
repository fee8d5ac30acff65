"""The dust: where it is, how it scatters."""
