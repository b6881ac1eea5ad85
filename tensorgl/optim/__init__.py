"""Optimizers and schedules, with PyTorch's names."""

from tensorgl.optim import lr_scheduler
from tensorgl.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from tensorgl.optim.adaptive import Adadelta, Adagrad, RMSprop
from tensorgl.optim.lbfgs import LBFGS
from tensorgl.optim.muon import Muon
from tensorgl.optim.optimizer import Optimizer
from tensorgl.optim.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
]
