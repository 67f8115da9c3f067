"""The configuration of a study, what is wrong with one, and what it asks for."""
