"""The task YAML, by family; this file makes the folder the target of an entry point."""
