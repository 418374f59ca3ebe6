"""Teachers, which score: engines started here or served elsewhere, asked and checked at one door (client.py)."""
