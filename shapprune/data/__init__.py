"""Image sets, from their files to tensors."""
