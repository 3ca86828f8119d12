"""Estimators and tests, one family a file: numbers in, numbers out; they know no task and no model."""
