"""Files of a run, and how they get onto the disk whole."""
