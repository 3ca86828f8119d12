"""Estimators and tests, one family a file: numbers in, numbers out. They know no task and no model."""
