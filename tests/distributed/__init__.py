"""Tests of tensorgl.distributed."""
