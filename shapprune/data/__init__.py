"""Image sets: reading, checking, splitting, and tensors."""
