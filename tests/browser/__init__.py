"""Tests in real browsers: what a person sees there, and the rest of the suite run again in a tab."""
