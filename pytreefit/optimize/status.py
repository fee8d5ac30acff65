"""Why a fit ended."""

import enum


class Status(enum.IntEnum):
    """Why a fit ended; ``sentence`` says it in words.

    Examples
    --------
    >>> from pytreefit import Status
    >>> Status.CONVERGED.sentence
    'The maximum was found.'
    """

    sentence: str

    UNFINISHED = 0, "The limit of steps came before the maximum."
    CONVERGED = 1, "The maximum was found."
    STALLED = (
        2,
        "No step comes closer to the maximum: rounding, a kink or a step is in the way.",
    )
    NOT_FINITE = 3, "The log density is not finite."
    FLAT = 4, "The log density stays the same, but this is no maximum."
    AT_EDGE = 5, "A parameter ran to the edge of its prior: there is no maximum inside."
    INTERRUPTED = 6, "The fit was interrupted."

    def __new__(cls, value: int, sentence: str):
        member = int.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member
