"""What is asked, and how a completion becomes a verdict: tasks, splitter, graders, `local-chat`.

The base layer: it imports no other package of the suite. This file imports nothing, so that every
submodule stays cheap to load.
"""
