"""`python -m harness_tasks` is `distill-eval`."""

from harness_tasks.cli import main

if __name__ == "__main__":
    main(prog_name="distill-eval")
