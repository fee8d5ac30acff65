"""Where to start fits of a spotted star, and the best of many."""
