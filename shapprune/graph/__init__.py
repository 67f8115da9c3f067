"""What a network is made of: its graph, where it can be cut, which layers can lose units, and its size."""
