"""What packages of models that build on pytreefit may use, beside the names of `pytreefit` itself.

These names are as stable as the public ones, but only authors of components need them.
"""

from ._jit import outermost
from ._xla import plain
from ._xla_functions import arcsinh, arctan, computed_once, fast_log, fused_sum, sinh_cosh
from .app.code import number_code, priors_code, priors_table, values_code
from .app.server import explore_command
from .app.state import Explorer
from .arrays import (
    as_booleans,
    as_data,
    as_floats,
    as_integers,
    as_mapping,
    as_number,
    as_whole_number,
    as_whole_numbers,
    check_choice,
    check_kind,
    check_shape,
    unit_of,
)
from .commands import Command, Option, run_program
from .model import inline, lookup_parameter, rebuild, walk
from .numeric import gauss_legendre, lenient, stopped
from .optimize.minimisers import density_at
from .options import (
    existing_file,
    new_file,
    number,
    one_of,
    prior_of,
    reading,
    split_fixed,
    suited,
    table_file,
    whole_file,
    whole_number,
)
from .parameter import KEY, is_traced
from .prior import as_prior, inside, prior_limits
from .progress import Reporter, duration
from .references import Paper, sources
from .results.pareto import pareto_smoothed
from .results.plots import new_folder, save_figures
from .survey.commands import (
    SHOW,
    STORING,
    all_of,
    by_name,
    deciding,
    finish,
    of_file,
    storing,
    write_table,
)
from .table import rounded
from .threads import in_threads

__all__ = [
    "KEY",
    "SHOW",
    "STORING",
    "Command",
    "Explorer",
    "Option",
    "Paper",
    "Reporter",
    "all_of",
    "arcsinh",
    "arctan",
    "as_booleans",
    "as_data",
    "as_floats",
    "as_integers",
    "as_mapping",
    "as_number",
    "as_prior",
    "as_whole_number",
    "as_whole_numbers",
    "by_name",
    "check_choice",
    "check_kind",
    "check_shape",
    "computed_once",
    "deciding",
    "density_at",
    "duration",
    "existing_file",
    "explore_command",
    "fast_log",
    "finish",
    "fused_sum",
    "gauss_legendre",
    "in_threads",
    "inline",
    "inside",
    "is_traced",
    "lenient",
    "lookup_parameter",
    "new_file",
    "new_folder",
    "number",
    "number_code",
    "of_file",
    "one_of",
    "outermost",
    "pareto_smoothed",
    "plain",
    "prior_limits",
    "prior_of",
    "priors_code",
    "priors_table",
    "reading",
    "rebuild",
    "rounded",
    "run_program",
    "save_figures",
    "sinh_cosh",
    "sources",
    "split_fixed",
    "stopped",
    "storing",
    "suited",
    "table_file",
    "unit_of",
    "values_code",
    "walk",
    "whole_file",
    "whole_number",
    "write_table",
]
