"""SCOPE: signal-calibrated on-policy distillation (arXiv 2604.10688) as an OpenRLHF plugin on Ray."""

__version__ = "0.1.0"
