"""Plots of a report as SVG: what is drawn comes from tables, and nothing is computed here."""
