"""Pages in the browser on which parameters are moved by hand; `state` knows nothing of browsers."""
