"""Writes tests/data/reference/tiny: weights of tests/cli/tiny.stm as PyTorch users have them, all of the same values.

python tests/data/reference_tiny.py        (needs torch, numpy, safetensors; the tests need none of them)

The values are whole 64ths below 2, exact in every type of real, so a model gives the same bytes whatever it was loaded
from. tests/cli/weights.sh compares.
"""

import collections, os, shutil
import numpy as np
import torch
from safetensors.torch import save_file

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference", "tiny")


class Tiny(torch.nn.Module):
    """The net of tiny.stm, side 12, level minor."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(16, 8)

    def forward(self, tile):
        x = torch.nn.functional.silu(self.bn(self.conv(tile.permute(0, 3, 1, 2).float() / 255)))
        return self.fc(torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    torch.manual_seed(11)
    model = Tiny().eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                low = 16 if "running_var" in name or name == "bn.weight" else -60
                value.copy_(torch.randint(low, 60, value.shape) / 64)
            else:
                value.fill_(8)
    state = collections.OrderedDict((k, v.clone()) for k, v in model.state_dict().items())

    def save(name, value, **how):
        torch.save(value, os.path.join(OUT, name), **how)

    def cast(dtype):
        return {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}

    save_file(state, os.path.join(OUT, "plain.safetensors"), metadata={"format": "pt"})
    save("plain.pth", state)
    save("stream.bin", state, _use_new_zipfile_serialization=False)
    save("f16.pt", cast(torch.float16))
    save("bf16.pt", cast(torch.bfloat16))
    save("f64.pt", cast(torch.float64))
    np.savez(os.path.join(OUT, "plain.npz"), **{k: v.numpy() for k, v in state.items()})
    # a trainer's checkpoint: weights below a name and behind DataParallel's "module.", beside the optimizer's state
    optimizer = torch.optim.AdamW(model.parameters())
    model.train()(torch.zeros(2, 12, 12, 3)).sum().backward()
    optimizer.step()
    parallel = {"module." + k: v for k, v in state.items()}
    save("checkpoint.pth", {"epoch": 3, "state_dict": parallel, "optimizer": optimizer.state_dict()})
    # a batch norm that the program does not have counts batches of its own
    save("counter.pth", {**state, "fc_bn.num_batches_tracked": torch.tensor(5)})
    # refused
    save("twice.pth", {"model": state, "ema": state})
    fewer = {k: v for k, v in state.items() if k != "fc.bias"}
    save("missing.pth", {"state_dict": {**fewer, "fc.scale": torch.ones(8), "conv.bias": torch.ones(5)}})
    save("text.pth", {**{k: v for k, v in state.items() if k != "fc.bias"}, "fc.bias": np.array(["a"] * 8)})
    for name in sorted(os.listdir(OUT)):
        print(name, os.path.getsize(os.path.join(OUT, name)))


main()
