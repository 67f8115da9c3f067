"""What the papers do with scores, as functions."""
