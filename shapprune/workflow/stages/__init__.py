"""The stages of a study, from files to files: what the scripts of the workflow call. One module a stage."""
