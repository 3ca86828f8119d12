"""Effort judging: which of two completions shows more reasoning effort, asked of judge models."""
