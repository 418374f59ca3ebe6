"""The commands of scope-train, and a run from its config to its summary."""
