"""Estimators and tests, one family a file: numbers in, numbers out; they know no task, no model."""
