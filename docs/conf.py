"""Sphinx configuration: `make docs`, or `sphinx-build -W docs docs/_build/html`."""

import os
import pathlib
import sys

os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import gallery

gallery.compile_quickly()  # before anything imports JAX

import inventories  # noqa: E402
import make_tables  # noqa: E402

import spotgp  # noqa: E402

make_tables.make()

project = "grater-spotgp"
author = "The grater-spotgp developers"
copyright = "The grater-spotgp developers"
release = version = spotgp.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "_generated/*.md"]
exclude_patterns += [f"tutorials/*.{kind}" for kind in ("ipynb", "py", "zip", "json")]
default_role = "py:obj"
nitpicky = False

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

intersphinx_mapping = inventories.make(pathlib.Path(__file__).parent / "_generated")

napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "show-inheritance": False}
add_module_names = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples/tutorials",
    "gallery_dirs": "tutorials",
    "within_subsection_order": "gallery.Order",
    "filename_pattern": r"(^|/)plot_",
    "image_scrapers": ("gallery.figures",),
    "reset_modules": ("matplotlib", "gallery.single_precision"),
    "ignore_repr_types": r"matplotlib",
    "notebook_images": True,
    "abort_on_example_error": True,
    "parallel": 2,  # compilation, which is most of it, takes one core each
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1,
    "copyfile_regex": r"$^",
}

html_theme = "furo"
html_title = "grater-spotgp"
html_show_copyright = False
