"""A tiny model of every supported type for the conformance checks: a file named after the type, with a `SUBJECT`."""
