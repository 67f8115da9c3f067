"""A benchmark for making networks smaller with few images: fixed networks, images, budgets and accounting."""
