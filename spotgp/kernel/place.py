"""Where a point is: its time, and which of several channels it is of."""

from typing import NamedTuple

from jaxtyping import Array, Float, Int


class Place(NamedTuple):
    """Times since an epoch, and the number of the channel that each is of."""

    time: Float[Array, "..."]
    channel: Int[Array, "..."]


def since_zero(place, epoch):
    """The same with times in days, not days since an epoch; times alone as well."""
    if isinstance(place, Place):
        return place._replace(time=place.time + epoch)
    return place + epoch
