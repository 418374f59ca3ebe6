"""Pages that people open in a browser: one file each, with all they need. KaTeX, 0.19.1, is bundled as it is."""
