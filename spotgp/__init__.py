"""Light curves of spotted stars and their Gaussian process: coming with the next version.

Only the package's name is here so far.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
