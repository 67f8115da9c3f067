"""What the jobs of a study compute, called by their scripts: one module a stage. All of it counts in keys."""
