"""Training together, measured: `python -m bench sync`.

How it scales, with real hub and sockets and emulated devices and link (`scaling.py`); what it costs a hub
(`--hub`, `load.py`); hubs and members that accidents befall (`--chaos`, `chaos.py`); real browsers and native
workers that learn digits (`--real`, `real.py`).
"""
