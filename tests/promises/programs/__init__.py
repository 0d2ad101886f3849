"""Random programs, and what can be told of their runs."""
