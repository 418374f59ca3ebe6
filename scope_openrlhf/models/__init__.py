"""Models and tokenizers as they come from a folder or a hub."""
