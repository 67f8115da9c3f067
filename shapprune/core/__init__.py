"""Errors, files, progress and other tools of all rooms. They change no result, so cache keys do not follow them."""
