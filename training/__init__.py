"""Traces to adapter to checkpoint: the only package that may load torch, inside functions."""
