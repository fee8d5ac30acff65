"""How the tutorials are run when the documentation is built."""

import os
import subprocess
import sys

QUICK = "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"

# disks, light curves, what both have in common
ORDER = "01 02 05 06 07 03 04 10 11 12 09 08 13 14".split()


class Order:
    """The order in which tutorials are listed: that of the pages' own "Next"."""

    def __init__(self, src_dir):
        pass

    def __call__(self, filename):
        return ORDER.index(filename.split("_")[1]), filename

    def __repr__(self):
        return f"<Order {ORDER}>"  # without an address, so that Sphinx sees when it changes


def compile_quickly() -> None:
    """Most of the time of the tutorials is compilation: have the compiler optimise little."""
    if "XLA_FLAGS" not in os.environ:
        # a version of XLA that does not know a flag ends the process
        trial = [sys.executable, "-c", "import jax; jax.devices()"]
        known = subprocess.run(trial, env={**os.environ, "XLA_FLAGS": QUICK}, capture_output=True)
        os.environ["XLA_FLAGS"] = QUICK if known.returncode == 0 else ""


def single_precision(gallery_conf, fname) -> None:
    """Undo what a tutorial may have set, and forget its compiled programs."""
    import jax

    jax.config.update("jax_enable_x64", False)
    jax.clear_caches()


def figures(block, block_vars, gallery_conf) -> str:
    """Figures of pyplot, and the one a cell ends with, as Jupyter shows it."""
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper

    last = block_vars["example_globals"].get("___")
    shown = []
    if isinstance(last, Figure) and last.canvas.manager is None and last.get_label() != "shown":
        shown = [next(block_vars["image_path_iterator"])]
        last.savefig(shown[0])
        last.set_label("shown")
    rest = matplotlib_scraper(block, block_vars, gallery_conf)
    return (figure_rst(shown, gallery_conf["src_dir"]) if shown else "") + rest
