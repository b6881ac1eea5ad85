"""Tests of data loading and checkpoints."""
