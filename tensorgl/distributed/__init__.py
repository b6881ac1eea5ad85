"""Browsers and native workers train one model together, through a hub."""
