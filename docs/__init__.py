"""The documentation; `python -m docs.generate` writes the pages that are read from the code."""
