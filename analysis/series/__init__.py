"""Several runs in an order: checkpoints, seeds, tiers of length; from runs or from a CSV."""
