"""A character-level GPT learns a text and writes on.

Give it any text file; without one it learns the poem beside this file.
"""

import argparse
from pathlib import Path

from tqdm import trange

import tensorgl as tg
from tensorgl import nn
from tensorgl.nn import functional as F

WIDTH, HEADS, LAYERS, CONTEXT = 96, 4, 2, 48


class Block(nn.Module):
    """Causal self-attention, then a small network, each added to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        batch, time, _ = x.shape
        q, k, v = (
            part.view(batch, time, HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, time, WIDTH))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Characters in, scores of the next character out."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(vocabulary, WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, vocabulary)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        h = self.characters(x) + self.places(tg.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(h)))

    @tg.no_grad()
    def write(self, text: tg.Tensor, length: int, temperature: float) -> list[int]:
        written = []
        for _ in range(length):
            scores = self(text[None])[0, -1] / temperature
            text = tg.cat([text[1:], tg.multinomial(F.softmax(scores, 0), 1)])
            written.append(text[-1].item())
        return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="?", type=Path, default=Path(__file__).with_name("poem.txt"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--length", type=int, default=200, help="characters to write at the end")
    options = parser.parse_args()
    text = options.text.read_text(encoding="utf-8")
    if len(text) <= CONTEXT + 1:
        parser.error(f"{options.text}: expected more than {CONTEXT + 1} characters: {len(text)}")
    tg.set_default_device(tg.accelerator.current_accelerator())  # None means the CPU
    tg.manual_seed(0)
    letters = sorted(set(text))
    number = {c: k for k, c in enumerate(letters)}
    data = tg.tensor([number[c] for c in text])
    model = GPT(len(letters))
    print(f"{len(text)} characters; {sum(p.numel() for p in model.parameters())} parameters")
    optimizer = tg.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = tg.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=options.steps)
    bar = trange(1, options.steps + 1, desc="training")
    for step in bar:
        starts = tg.randint(0, len(data) - CONTEXT, (24, 1))
        places = starts + tg.arange(CONTEXT)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data[places]).flatten(0, 1), data[places + 1].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")
        if step % 100 == 0:
            bar.write(f"step {step}: loss {loss.item():.3f}")
    written = model.write(data[:CONTEXT], options.length, temperature=0.7)
    print(text[:CONTEXT] + "".join(letters[k] for k in written))


if __name__ == "__main__":
    main()
