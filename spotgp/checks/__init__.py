"""Whether a model is right, and which of several predicts the data best."""
