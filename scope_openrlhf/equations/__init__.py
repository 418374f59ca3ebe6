"""Pure functions of tensors: weights, losses, routes, and what a step looks like."""
