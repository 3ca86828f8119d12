"""Plots of a report as SVG. What is drawn comes from tables and comparisons; nothing is computed."""
