"""Images with their noise and starlight, and their likelihood."""
