"""The pages of docs/ that are read from the code: commands, task catalogue, record schemas."""
