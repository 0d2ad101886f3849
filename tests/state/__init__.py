"""Tests of replicated state."""
