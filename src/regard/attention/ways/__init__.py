"""The ways to run a call: one file a way, each answering `why_not(call)` and `run(call)`."""
