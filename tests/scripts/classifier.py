"""A tutorial's training script: a Dataset, a CNN, a loop with a schedule, a checkpoint."""

import argparse
import os
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, random_split


class Bars(Dataset):
    """Images of one bar: 0 for a row, 1 for a column."""

    def __len__(self):
        return 80

    def __getitem__(self, index):
        image = torch.zeros(1, 10, 10)
        label = index % 2
        if label:
            image[0, :, index // 2 % 10] = 1.0
        else:
            image[0, index // 2 % 10] = 1.0
        return image, label


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 4, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(4 * 5 * 5, 2)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 2)
        x = self.dropout(torch.flatten(x, 1))
        return F.log_softmax(self.fc(x), dim=1)


def train(model, device, loader, optimizer):
    model.train()
    total = 0.0
    for data, target in loader:
        data, target = data.to(device, non_blocking=True), target.to(device)
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        total += loss.item() * data.size(0)
    return total / len(loader.dataset)


@torch.no_grad()
def accuracy(model, device, loader):
    model.eval()
    correct = 0
    for data, target in loader:
        pred = model(data.to(device)).argmax(dim=1, keepdim=True)
        correct += pred.eq(target.to(device).view_as(pred)).sum().item()
    return correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    torch.manual_seed(1)
    torch.cuda.manual_seed_all(1)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    use_mps = torch.backends.mps.is_available()
    device = torch.device("cuda" if torch.cuda.is_available() else "mps" if use_mps else "cpu")
    train_set, test_set = random_split(Bars(), [60, 20])
    train_loader = DataLoader(train_set, batch_size=15, shuffle=True, num_workers=2)
    test_loader = DataLoader(test_set, batch_size=20)
    model = nn.DataParallel(Net().to(device))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = StepLR(optimizer, step_size=4, gamma=0.5)
    losses = []
    for _ in range(args.epochs):
        losses.append(train(model, device, train_loader, optimizer))
        scheduler.step()
    assert losses[-1] < 0.1 < losses[0], losses
    assert accuracy(model, device, test_loader) == 1.0
    assert scheduler.get_last_lr() == [0.05]

    path = os.path.join(tempfile.mkdtemp(), "checkpoint.pth")
    state = {"epoch": args.epochs, "model": model.state_dict(), "optim": optimizer.state_dict()}
    torch.save(state, path)
    checkpoint = torch.load(path, map_location=device)
    fresh = nn.DataParallel(Net())
    fresh.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optim"])
    assert checkpoint["epoch"] == args.epochs
    assert accuracy(fresh, device, test_loader) == 1.0
    print(sorted(checkpoint["model"])[0], type(model.module).__name__)


if __name__ == "__main__":
    main()
