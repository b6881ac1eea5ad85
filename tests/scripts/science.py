"""Physics-informed network, meta-learning, and classical methods; values as PyTorch gives them."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call
from torch.nn.modules.module import Module
from torch.nn.parameter import Parameter


class Dense(Module):
    """A layer that sets its own weights, as layers in repositories do."""

    def __init__(self, n_in, n_out):
        super(Dense, self).__init__()
        self.weight = Parameter(torch.FloatTensor(n_out, n_in))
        self.bias = Parameter(torch.FloatTensor(n_out))
        self.reset_parameters()

    def reset_parameters(self):
        fan_in, _ = nn.init._calculate_fan_in_and_fan_out(self.weight)
        wave = torch.sin(torch.arange(self.weight.numel(), dtype=torch.float))
        self.weight.data = wave.view_as(self.weight) / math.sqrt(fan_in)
        self.bias.data.zero_()

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


def mlp():
    return nn.Sequential(Dense(1, 16), nn.Tanh(), Dense(16, 16), nn.Tanh(), Dense(16, 1))


def poisson():
    """Solve u'' = -sin(x), u(0) = u(π) = 0, whose solution is sin(x)."""
    net = mlp()
    x = torch.linspace(0, math.pi, 20).reshape(-1, 1).requires_grad_(True)
    ends = torch.tensor([[0.0], [math.pi]])

    def residual():
        u = net(x)
        (du,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
        (d2u,) = torch.autograd.grad(du, x, torch.ones_like(du), create_graph=True)
        return ((d2u + torch.sin(x)) ** 2).mean() + net(ends).pow(2).mean()

    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = residual()
        loss.backward()
        return loss

    print(f"{residual().item():.4f}")
    for _ in range(3):
        optimizer.step(closure)
    assert residual() < 1e-3
    assert (net(x) - torch.sin(x)).abs().max() < 0.02


def meta_learning():
    net = mlp()
    meta = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x = torch.linspace(-3, 3, 20).unsqueeze(1)
    for _ in range(3):
        total = 0
        for amplitude in (0.5, 1.0, 1.5):
            y = amplitude * torch.sin(x)
            fast = dict(net.named_parameters())
            for _ in range(2):
                loss = F.mse_loss(functional_call(net, fast, (x,)), y)
                grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
                fast = {k: w - 0.05 * g for (k, w), g in zip(fast.items(), grads)}
            total = total + F.mse_loss(functional_call(net, fast, x), y)
        meta.zero_grad()
        total.backward()
        meta.step()
        print(f"{total.item():.4f}")


def gaussian_process():
    x = torch.linspace(0, 1, 8).unsqueeze(-1)
    y = torch.sin(6 * x).squeeze()
    scale = torch.tensor(0.3, requires_grad=True)
    k = torch.exp(-0.5 * torch.cdist(x, x) ** 2 / scale**2) + 0.1 * torch.eye(8)
    chol = torch.linalg.cholesky(k)
    alpha = torch.cholesky_solve(y.unsqueeze(1), chol)
    nll = 0.5 * y @ alpha.squeeze() + torch.log(torch.diagonal(chol)).sum()
    nll.backward()
    print(f"{nll:.4f} {scale.grad:.4f}")


def contrastive():
    z = F.normalize(torch.sin(torch.arange(24.0)).view(6, 4), dim=1)
    similarity = z @ z.t() / 0.5
    similarity.fill_diagonal_(float("-inf"))
    print(f"{F.cross_entropy(similarity, torch.tensor([3, 4, 5, 0, 1, 2])):.4f}")


def clusters():
    x = torch.cat([torch.sin(torch.arange(20.0)), 5 + torch.cos(torch.arange(20.0))]).view(-1, 2)
    centers = x[[0, -1]].clone()
    for _ in range(4):
        nearest = torch.cdist(x, centers).argmin(1)
        sums = torch.zeros_like(centers).index_add_(0, nearest, x)
        centers = sums / torch.bincount(nearest, minlength=2).type_as(sums).unsqueeze(1)
    _, s, _ = torch.svd(x - x.mean(dim=0, keepdim=True))
    chosen = torch.isin(nearest, torch.tensor([1]))
    print(chosen.sum().item(), [round(v, 3) for v in centers[1].tolist()], f"{s[0]:.3f}")


poisson()
meta_learning()
gaussian_process()
contrastive()
clusters()
