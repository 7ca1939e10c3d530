"""The commands, one a file; each is thin over importable code."""
