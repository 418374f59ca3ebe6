"""Evaluation harness on lm-eval: sample a model, grade what it says, and compare models."""
