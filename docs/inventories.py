"""Where the documentation of other packages has the names that these pages link to.

Sphinx's intersphinx would fetch whole inventories; these are written here, so that the pages are
built without a network.
"""

import pathlib
import zlib

_JAX = "_autosummary/{}.html#{}"
_NUMPY = "reference/generated/{}.html#{}"
_ASTROPY = "api/{}.html#{}"
_NUMPYRO = "distributions.html#numpyro.distributions.continuous.{}"
# address, and the pages of names; "{}" stands for the name
PACKAGES = {
    "jax": (
        "https://docs.jax.dev/en/latest/",
        {f"jax.{name}": _JAX for name in ("jit", "grad", "vmap", "jvp", "Array", "random.key")},
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {"numpy.ndarray": _NUMPY, "numpy.savez": _NUMPY},
    ),
    "astropy": (
        "https://docs.astropy.org/en/stable/",
        {
            "astropy.table.QTable": _ASTROPY,
            "astropy.timeseries.TimeSeries": _ASTROPY,
            "astropy.units.Quantity": _ASTROPY,
            "astropy.io.ascii": "io/ascii/index.html",
        },
    ),
    "numpyro": (
        "https://num.pyro.ai/en/stable/",
        {
            f"numpyro.distributions.{name}": _NUMPYRO.format(name)
            for name in ("LogNormal", "LogUniform", "Normal", "Uniform")
        }
        | {"numpyro.distributions": "distributions.html"},
    ),
    "optax": (
        "https://optax.readthedocs.io/en/latest/",
        {f"optax.{name}": "api/optimizers.html#{}" for name in ("adam", "lbfgs")},
    ),
    "equinox": (
        "https://docs.kidger.site/equinox/",
        {
            "equinox.filter_jit": "api/transformations/#{}",
            "equinox.filter_vmap": "api/transformations/#{}",
            "equinox.field": "api/module/advanced_fields/#{}",
            "equinox.Module": "api/module/module/#{}",
        },
    ),
}


def make(folder):
    """Write the inventories, and return what intersphinx wants to know."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for package, (address, names) in PACKAGES.items():
        lines = (
            f"{name} {_kind(name)} 1 {page.replace('{}', name)} -\n"
            for name, page in sorted(names.items())
        )
        head = f"# Sphinx inventory version 2\n# Project: {package}\n# Version: \n"
        head += "# The remainder of this file is compressed using zlib.\n"
        path = folder / f"{package}.inv"
        path.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))
        mapping[package] = (address, str(path))
    return mapping


def _kind(name):
    """Sphinx's type of a name."""
    if name in ("astropy.io.ascii", "numpyro.distributions"):
        return "py:module"
    return "py:class" if name.rpartition(".")[2][0].isupper() else "py:function"
