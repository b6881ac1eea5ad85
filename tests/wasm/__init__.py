"""Tests of what the browser needs beside the package, without a browser."""
