"""A bidirectional LSTM over packed sequences; values as PyTorch gives them for the same weights."""

import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.optim.lr_scheduler import _LRScheduler


class LSTMClassifier(nn.Module):
    def __init__(self, vocab, embedding, hidden, classes):
        super().__init__()
        self.embedding = nn.Embedding(vocab, embedding, padding_idx=0)
        self.rnn = nn.LSTM(embedding, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, text, lengths):
        packed = pack_padded_sequence(
            self.embedding(text), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        output, (hidden, _) = self.rnn(packed)
        output, lengths = pad_packed_sequence(output, batch_first=True)
        return self.fc(torch.cat((hidden[-2], hidden[-1]), dim=1)), output, lengths


class Warmup(_LRScheduler):
    def __init__(self, optimizer, steps):
        self.steps = steps
        super().__init__(optimizer)

    def get_lr(self):
        return [base * min(1.0, (self.last_epoch + 1) / self.steps) for base in self.base_lrs]


sequences = [torch.LongTensor(s) for s in ([1, 2, 3, 4], [5, 6], [7, 8, 9])]
lengths = torch.tensor([len(s) for s in sequences])
batch = pad_sequence(sequences, batch_first=True)
labels = torch.from_numpy(np.array([0, 1, 1]))
assert isinstance(labels, torch.LongTensor)

model = LSTMClassifier(10, 6, 5, 2)
for p in model.parameters():
    wave = np.sin(np.arange(p.numel(), dtype=np.float32)).reshape(tuple(p.shape))
    p.data.copy_(torch.from_numpy(0.3 * wave))
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
scheduler = Warmup(optimizer, 4)
accumulate = 2
for step in range(6):
    logits, output, out_lengths = model(batch, lengths)
    loss = nn.CrossEntropyLoss()(logits, labels) / accumulate
    loss.backward()
    if (step + 1) % accumulate == 0:
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.25)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        print(f"loss {loss.item() * accumulate:.3f} norm {norm:.3f} {scheduler.get_last_lr()[0]}")
print(tuple(output.shape), out_lengths.tolist(), f"{output[1, 2:].abs().sum():.1f}")
