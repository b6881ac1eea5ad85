"""Reinforcement learning: policy gradient with a learned baseline balances poles on carts.

Sources: Barto, Sutton and Anderson 1983 (the task and its constants); Williams 1992 (REINFORCE).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import trange

import tensorgl as tg
from tensorgl import nn
from tensorgl.nn import functional as F

CARTS, LIMIT, DISCOUNT = 16, 200, 0.98


class Carts:
    """Carts with poles, pushed every 20 ms; a state (CARTS, 4): place, speed, angle, its speed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def reset(self) -> np.ndarray:
        self.state = self.rng.uniform(-0.05, 0.05, (CARTS, 4)).astype(np.float32)
        return self.state

    def step(self, push_right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The next state, and which poles still stand."""
        _, v, angle, spin = self.state.T
        gravity, cart, pole, half, force = 9.8, 1.0, 0.1, 0.5, np.where(push_right, 10.0, -10.0)
        cosine = np.cos(angle)
        pull = (force + pole * half * spin**2 * np.sin(angle)) / (cart + pole)
        inertia = half * (4 / 3 - pole * cosine**2 / (cart + pole))
        turn = (gravity * np.sin(angle) - cosine * pull) / inertia
        push = pull - pole * half * turn * cosine / (cart + pole)
        self.state = self.state + 0.02 * np.stack([v, push, spin, turn], axis=1)
        stands = (np.abs(self.state[:, 0]) < 2.4) & (np.abs(self.state[:, 2]) < np.radians(12))
        return self.state.astype(np.float32), stands


def episode(policy: nn.Module, carts: Carts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States (LIMIT, CARTS, 4), pushes (LIMIT, CARTS), and which poles stood before each push."""
    states = np.zeros((LIMIT, CARTS, 4), np.float32)
    pushes, standing = np.zeros((2, LIMIT, CARTS), np.float32)
    state, alive = carts.reset(), np.ones(CARTS, bool)
    for t in range(LIMIT):
        with tg.no_grad():
            chance = policy(tg.tensor(state)).squeeze(1).sigmoid()
        states[t], pushes[t], standing[t] = state, tg.bernoulli(chance).tolist(), alive
        state, stands = carts.step(pushes[t] > 0)
        alive = alive & stands
        if not alive.any():
            break
    return states, pushes, standing


def main() -> None:
    parser = argparse.ArgumentParser(description="A network learns to balance poles.")
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tg.set_default_device(tg.accelerator.current_accelerator())  # None means the CPU
    tg.manual_seed(0)
    carts = Carts(seed=0)
    policy, value = (nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1)) for _ in range(2))
    optimizer = tg.optim.Adam([*policy.parameters(), *value.parameters()], lr=1e-2)
    lengths = []
    for _ in (bar := trange(options.rounds, desc="training")):
        states, pushes, standing = episode(policy, carts)
        returns, ahead = np.zeros(standing.shape, np.float32), 0.0
        for t in reversed(range(len(standing))):
            ahead = standing[t] * (1 + DISCOUNT * ahead)
            returns[t] = ahead
        target, mask = tg.tensor(returns), tg.tensor(standing)
        states, pushes = tg.tensor(states), tg.tensor(pushes)
        expected = value(states).squeeze(2)
        advantage = (target - expected.detach()) * mask
        advantage = advantage / (advantage.square().sum() / mask.sum()).sqrt().clamp(min=1e-6)
        logits = policy(states).squeeze(2)
        surprise = F.binary_cross_entropy_with_logits(logits, pushes, reduction="none")
        errors = surprise * advantage + 0.001 * (expected - target).square() * mask
        loss = errors.sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lengths.append(standing.sum(0).mean())
        bar.set_postfix(steps=lengths[-1])
    print(f"steps at first: {np.mean(lengths[:5]):.0f}; at last: {np.mean(lengths[-5:]):.0f}")
    plt.plot(lengths)
    plt.title("steps until the pole falls, by round")
    plt.savefig(options.out / "pole-balancing.png", dpi=120)
    print(f"picture: {options.out / 'pole-balancing.png'}")


if __name__ == "__main__":
    main()
