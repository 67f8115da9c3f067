"""Which units leave, smaller networks without them, and what can be repaired."""
