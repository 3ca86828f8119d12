"""What was sent to a model server and what came back: a pass-through proxy and its log.

Owns the wire: the proxy (`distill-proxy`), the exchange record and the recorded-completions server.
Refuses to own: think tags (harness_tasks.reasoning), verdicts (harness_tasks) and statistics
(analysis).
This module imports nothing, so that every submodule stays cheap to load.
"""
