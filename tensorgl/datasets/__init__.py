"""Data sets: digits ships with the package; MNIST is read from a folder."""

from tensorgl.datasets.digits import digits
from tensorgl.datasets.mnist import MNIST

__all__ = ["MNIST", "digits"]
