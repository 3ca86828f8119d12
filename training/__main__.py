"""`python -m training` is `distill-train`."""

from training.cli import main

main()
