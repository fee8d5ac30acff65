"""A spotted star whose parameters are moved by hand."""
