"""Records to numbers to pages: what `distill-report` reads, estimates and prints.

Owns every p-value and interval of the suite. Refuses to own grading (`harness_tasks`) and the wire
(`proxy`); loads neither torch nor lm_eval.
"""
