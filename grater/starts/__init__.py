"""Where a fit starts: a search from the image itself."""
