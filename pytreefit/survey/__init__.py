"""The same work on many targets, with rows in a folder that survive whatever ends the process."""

from .describe import describe
from .engines import Failed
from .report import report
from .rows import Record
from .store import Store
from .tasks import Survey, SurveyError, run

__all__ = ["Failed", "Record", "Store", "Survey", "SurveyError", "describe", "report", "run"]
