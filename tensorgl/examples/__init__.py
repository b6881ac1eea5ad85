"""Scripts to run, read and change; each also runs in the browser's gallery."""
