"""Keys of results, where they are kept, and what a job has to make."""
