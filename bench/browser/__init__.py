"""Sides that are timed in a browser's tab: tensorgl in Pyodide, TensorFlow.js and jax-js, in one page."""

from .tab import IN_TAB, Tab, TabError, TabWorker

__all__ = ["IN_TAB", "Tab", "TabError", "TabWorker"]
