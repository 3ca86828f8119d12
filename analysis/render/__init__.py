"""Tables as text: terminal, Markdown, LaTeX, CSV, JSON. Formatting only; no arithmetic."""
