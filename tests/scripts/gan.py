"""The set-up of convolutional GAN tutorials; values as PyTorch gives them for the same weights."""

import torch
import torch.nn as nn
import torch.nn.parallel
import torch.optim as optim
import torch.utils.data
from torch.autograd import Variable


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


def known_weights(model):
    """The same weights whatever draws random numbers."""
    with torch.no_grad():
        for p in model.parameters():
            wave = torch.sin(torch.arange(p.numel(), dtype=torch.float)).view_as(p)
            p.copy_(0.3 * wave if p.dim() > 1 else 1 + 0.1 * wave)


netG = nn.Sequential(
    nn.ConvTranspose2d(6, 8, 4, 1, 0, bias=False),
    nn.BatchNorm2d(8),
    nn.ReLU(True),
    nn.ConvTranspose2d(8, 1, 4, 2, 1, bias=False),
    nn.Tanh(),
)
netD = nn.Sequential(
    nn.Conv2d(1, 4, 4, 2, 1, bias=False),
    nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(4, 1, 4, 1, 0, bias=False),
    nn.Sigmoid(),
)
torch.manual_seed(999)
torch.use_deterministic_algorithms(True)
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
for net in (netG, netD):
    net.to(device).apply(weights_init)
    assert net[0].weight.std() < 0.03
    known_weights(net)

criterion = nn.BCELoss()
optimizerD = optim.Adam(netD.parameters(), lr=0.01, betas=(0.5, 0.999))
optimizerG = optim.Adam(netG.parameters(), lr=0.01, betas=(0.5, 0.999))
real = torch.cos(torch.arange(5 * 64, device=device).float()).view(5, 1, 8, 8)
noise = Variable(torch.sin(3 * torch.arange(30.0)).view(5, 6, 1, 1))
for i in range(3):
    netD.zero_grad()
    label = torch.full((5,), 1.0, dtype=torch.float, device=device)
    errD_real = criterion(netD(real).view(-1), label)
    errD_real.backward()
    fake = netG(noise)
    label.fill_(0.0)
    errD_fake = criterion(netD(fake.detach()).view(-1), label)
    errD_fake.backward()
    optimizerD.step()
    netG.zero_grad()
    label.fill_(1.0)
    errG = criterion(netD(fake).view(-1), label)
    errG.backward()
    optimizerG.step()
    print("[%d/3] Loss_D: %.3f Loss_G: %.3f" % (i, (errD_real + errD_fake).item(), errG.item()))

# The gradient penalty of a Wasserstein critic: a gradient of a gradient.
critic = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(64, 1))
known_weights(critic)
alpha = torch.linspace(0, 1, 5).view(5, 1, 1, 1).expand_as(real)
mixed = (alpha * real.data + (1 - alpha) * fake.data).requires_grad_(True)
scores = critic(mixed)
(g,) = torch.autograd.grad(
    outputs=scores,
    inputs=mixed,
    grad_outputs=torch.ones_like(scores, memory_format=torch.preserve_format),
    create_graph=True,
)
penalty = ((g.view(5, -1).norm(2, dim=1) - 1) ** 2).mean()
penalty.backward()
print("penalty %.3f, gradient %.3f" % (penalty, critic[0].weight.grad.norm()))
