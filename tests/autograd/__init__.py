"""Tests of automatic differentiation."""
