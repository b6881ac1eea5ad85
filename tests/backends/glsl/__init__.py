"""Tests of the backend that writes GLSL."""
