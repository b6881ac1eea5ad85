"""Tests of the ops: one table, a line an op, and what a table cannot say."""
