"""A disk whose parameters are moved by hand."""
