"""What the errors that approximate solvers state are made of."""

# Standard deviations of the error, beyond its mean: one in some hundred light curves exceeds it.
DEVIATIONS = 3.0
