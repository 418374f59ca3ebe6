"""The version of OpenRLHF that host/ is written against, and how it is installed."""

PINNED_OPENRLHF = "0.11.2"
INSTALL_OPENRLHF = f"pip install --no-deps openrlhf=={PINNED_OPENRLHF}"
"""Alone, because it asks for flash-attn, which pip would have to compile."""
INSTALL_TRAINING = f"make setup, or: pip install 'scope-openrlhf[gpu]' && {INSTALL_OPENRLHF}"
