"""Benchmarks: one module a question, each side by side with what a user would pick instead.

Each lies in the folder of what it measures; the table of their names is in ``__main__``. Those
that kill and damage instead of measuring are in ``tests/soak``.
"""
