"""How gradient sync scales: `python -m bench sync`. Real hub and sockets, emulated devices and link."""
