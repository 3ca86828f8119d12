"""`distill-eval doctor`: what a run would stumble over, found in about a minute before it."""
