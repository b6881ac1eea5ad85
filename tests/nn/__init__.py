"""Tests of tensorgl.nn."""
