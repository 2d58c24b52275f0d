"""HEVisum's VisionMLP_MultiTask in PyTorch, written from a description of the system (shapes,
names and parameter counts), not from the original source. Used by the parity reference and by the PyTorch
side of the benchmarks. Parameter paths are those of the original checkpoints."""

import torch
from torch import nn


class Residual(nn.Module):
    """conv3-bn-silu-conv3-bn-silu, then the shortcut is added (no activation after the sum)."""

    def __init__(self, a, b):
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(b)
        self.act = nn.SiLU()
        self.shortcut = nn.Identity() if a == b else nn.Sequential(nn.Conv2d(a, b, 1), nn.BatchNorm2d(b))

    def forward(self, x):
        h = self.act(self.bn1(self.conv1(x)))
        h = self.act(self.bn2(self.conv2(h)))
        return h + self.shortcut(x)


def layer0():
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.SiLU(), nn.MaxPool2d(2))


def pyramid(x, sizes):
    """(B,C,H,W) -> (B, C * sum of s^2): adaptive averages, flattened channel-major, joined in order."""
    return torch.cat([nn.functional.adaptive_avg_pool2d(x, s).flatten(1) for s in sizes], dim=1)


def head(widths, dropout):
    layers = [nn.Flatten()]
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Dropout(dropout), nn.Linear(a, b), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers)


class TileEncoder(nn.Module):
    """(B,3,78,78) -> (B,128)"""

    def __init__(self, dropout):
        super().__init__()
        self.layer0 = layer0()
        self.layer1 = nn.Sequential(Residual(32, 64), Residual(64, 64), nn.MaxPool2d(2))
        self.layer2 = nn.Sequential(Residual(64, 128), Residual(128, 128), nn.MaxPool2d(2))
        self.layer3 = nn.Sequential(Residual(128, 256), Residual(256, 256))
        self.fc = head([2560, 512, 256, 128], dropout)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.layer0(x))))
        return self.fc(pyramid(x, (1, 3)))


class SmallEncoder(nn.Module):
    """(B,3,26,26) -> (B,128), or (B,S,3,26,26) -> (B,128) with the mean over S taken before the head."""

    def __init__(self, dropout):
        super().__init__()
        self.layer0 = layer0()
        self.layer1 = nn.Sequential(Residual(32, 64), Residual(64, 64), nn.MaxPool2d(2))
        self.layer2 = nn.Sequential(Residual(64, 128), Residual(128, 128))
        self.fc = head([1792, 256, 128], dropout)

    def forward(self, x):
        several = x.dim() == 5
        batch = x.shape[0]
        if several:
            x = x.reshape(batch * x.shape[1], *x.shape[2:])
        x = pyramid(self.layer2(self.layer1(self.layer0(x))), (1, 2, 3))
        if several:
            x = x.reshape(batch, -1, x.shape[1]).mean(dim=1)
        return self.fc(x)


class VisionMLP_MultiTask(nn.Module):
    """tile (B,3,78,78), subtiles (B,9,3,26,26) -> (B,outputs); subtile 4 is the centre."""

    def __init__(self, outputs=35, dropout=0.1):
        super().__init__()
        self.encoder_tile = TileEncoder(dropout)
        self.encoder_subtile = SmallEncoder(dropout)
        self.encoder_center = SmallEncoder(dropout)
        widths = [384, 256, 128, 64]
        layers = []
        for a, b in zip(widths, widths[1:]):
            layers += [nn.Linear(a, b), nn.LeakyReLU(0.01), nn.Dropout(dropout)]
        self.decoder = nn.Sequential(*layers, nn.Linear(64, outputs))

    def forward(self, tile, subtiles):
        center = subtiles[:, 4].contiguous()
        parts = [self.encoder_tile(tile), self.encoder_subtile(subtiles), self.encoder_center(center)]
        return self.decoder(torch.cat(parts, dim=1))


def cut_subtiles(tile):
    """(B,3,78,78) -> (B,9,3,26,26), index 3*row + column."""
    batch = tile.shape[0]
    cut = tile.reshape(batch, 3, 3, 26, 3, 26).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(batch, 9, 3, 26, 26).contiguous()


def build(outputs=35, dropout=0.1):
    model = VisionMLP_MultiTask(outputs, dropout)
    parameters = sum(p.numel() for p in model.parameters())
    entries = len(model.state_dict())
    if outputs == 35 and (parameters != 6_679_843 or entries != 288):
        raise AssertionError(
            f"expected 6,679,843 parameters in 288 entries, found {parameters:,} in {entries}"
        )
    return model
