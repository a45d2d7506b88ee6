"""Benchmarks: one script per question. See README.md beside this file."""
