"""Algorithms with the same seeds, prompts and number of rollouts: trained, evaluated alike, compared in one page."""
