"""Sequences of frames: rolls, components of their starlight, reduced images, injected disks."""
