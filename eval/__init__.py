"""Evaluation harness on lm-eval."""
