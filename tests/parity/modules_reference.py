#!/usr/bin/env python3
"""Records the reference of single modules, modules.safetensors, from PyTorch, SciPy and NumPy in f64.

usage: modules_reference.py [--out FILE]

Every case is tiny, has odd extents and carries all it needs, so a test reads no formula. Keys are CASE/WHAT;
WHAT is one of
    input/NAME       an input (f64; i64 for indices)          param/NAME    a parameter
    attr/NAME        a constant of the case (i64 or f64[..])   output/NAME   the result
    cotangent/NAME   the gradient of an imagined scalar with respect to that output; for losses it is 1
    grad/NAME        the gradient of sum(output * cotangent) for input or parameter NAME
    before/NAME, after/NAME   state that the module itself updates (running statistics)
The cases of a family share a prefix: conv2d.*, batchnorm2d.*, loss.*, optim.*, schedule.*, metric.*. This
script prints the whole list; README.md describes it. Values come from pattern.scaled with the key as name.

optim.*     f(w) = 1/2 sum_i a_i (w_i - c_i)^2 + 1/2 (sum_i w_i)^2 over w[7]; attr/a, attr/c, attr/<setting>;
            output/w [11,7] (row 0 is the start), output/grad [10,7], output/loss [11], after/STATE when the
            optimiser keeps one.
schedule.*  output/lr [epochs]: the rate used in epoch e = 0, 1, ...; the scheduler steps after each epoch.
metric.*    input/prediction, input/target [9,5]; output/axis0 [5] over rows, output/axis1 [9] over columns,
            output/all [1] over all entries.
"""

import argparse
import math
import os
import warnings

import numpy as np
import scipy.stats
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

import pattern

record = {}


def put(name, value):
    if name in record:
        raise KeyError(f"{name} recorded twice")
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    value = np.asarray(value)
    if value.dtype.kind in "iu" or value.dtype == bool:
        value = value.astype(np.int64)
    else:
        value = value.astype(np.float64)
    record[name] = np.atleast_1d(np.ascontiguousarray(value)).copy()


def fill(name, shape, scale=1.0, offset=0.0):
    """A leaf tensor of the pattern whose values have 24 bits; it requires a gradient."""
    return torch.tensor(pattern.scaled(name, shape, scale, offset)).requires_grad_()


def constant(name, shape, scale=1.0, offset=0.0):
    return fill(name, shape, scale, offset).detach()


def case(name, function, inputs, params=None, attr=None, fixed=None):
    """Runs function(inputs, params) -> tensor or dict of tensors and records it with all gradients.

    inputs and params map names to leaf tensors; `fixed` names inputs without gradient (indices, targets).
    """
    params, attr, fixed = params or {}, attr or {}, fixed or {}
    result = function(**inputs, **params, **fixed)
    outputs = result if isinstance(result, dict) else {"y": result}
    total = 0
    for out, value in outputs.items():
        scalar = value.dim() == 0
        key = f"{name}/cotangent/{out}"
        cotangent = torch.ones_like(value) if scalar else constant(key, tuple(value.shape))
        put(f"{name}/output/{out}", value)
        put(f"{name}/cotangent/{out}", cotangent)
        total = total + (value * cotangent).sum()
    leaves = {**inputs, **params}
    gradients = torch.autograd.grad(total, list(leaves.values()))
    for kind, group in (("input", inputs), ("param", params), ("input", fixed), ("attr", attr)):
        for key, value in group.items():
            put(f"{name}/{kind}/{key}", value)
    for key, gradient in zip(leaves, gradients):
        put(f"{name}/grad/{key}", gradient)


def layers():
    for name, shape in (("linear.rank2", (5, 7)), ("linear.rank3", (2, 3, 7)), ("linear.one", (1, 1))):
        features = shape[-1]
        case(
            name,
            lambda x, weight, bias: F.linear(x, weight, bias),
            {"x": fill(name + "/x", shape)},
            {"weight": fill(name + "/weight", (3, features)), "bias": fill(name + "/bias", (3,))},
        )
    case(
        "linear.nobias",
        lambda x, weight: F.linear(x, weight),
        {"x": fill("linear.nobias/x", (5, 7))},
        {"weight": fill("linear.nobias/weight", (3, 7))},
    )

    # name: batch, in, out, (h, w), (kh, kw), stride, pad, dilation, groups
    convolutions = {
        "conv2d.plain": (2, 3, 5, (7, 6), (3, 3), (1, 1), (1, 1), (1, 1), 1),
        "conv2d.valid": (1, 2, 3, (5, 7), (3, 3), (1, 1), (0, 0), (1, 1), 1),
        "conv2d.one": (2, 5, 3, (5, 5), (1, 1), (1, 1), (0, 0), (1, 1), 1),
        "conv2d.stride": (2, 3, 4, (9, 8), (3, 3), (2, 2), (1, 1), (1, 1), 1),
        "conv2d.uneven": (1, 2, 3, (7, 9), (2, 5), (2, 3), (1, 2), (1, 1), 1),
        "conv2d.dilation": (1, 2, 3, (9, 9), (3, 3), (1, 1), (2, 2), (2, 2), 1),
        "conv2d.groups": (2, 4, 6, (5, 5), (3, 3), (1, 1), (1, 1), (1, 1), 2),
        "conv2d.depthwise": (2, 3, 3, (6, 7), (3, 3), (1, 1), (1, 1), (1, 1), 3),
        "conv2d.all": (1, 4, 6, (11, 10), (3, 2), (2, 1), (1, 2), (2, 3), 2),
        "conv2d.tiny": (1, 1, 1, (1, 1), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    }
    for name, (b, ci, co, hw, k, stride, pad, dilation, groups) in convolutions.items():
        case(
            name,
            lambda x, weight, bias: F.conv2d(x, weight, bias, stride, pad, dilation, groups),
            {"x": fill(name + "/x", (b, ci, *hw))},
            {"weight": fill(name + "/weight", (co, ci // groups, *k)), "bias": fill(name + "/bias", (co,))},
            {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups},
        )

    case(
        "embedding",
        lambda weight, index: F.embedding(index, weight),
        {},
        {"weight": fill("embedding/weight", (6, 3))},
        fixed={"index": torch.tensor([[0, 5, 2], [2, 2, 3]])},
    )


def pools():
    # name: shape, kernel, stride, pad; sizes are odd so that the last row or column is dropped
    for name, (shape, kernel, stride, pad) in {
        "maxpool2d.half": ((2, 3, 7, 9), (2, 2), (2, 2), (0, 0)),
        "maxpool2d.overlap": ((1, 2, 7, 6), (3, 3), (2, 2), (1, 1)),
        "maxpool2d.uneven": ((1, 2, 5, 8), (2, 3), (1, 2), (0, 1)),
    }.items():
        case(
            name,
            lambda x: F.max_pool2d(x, kernel, stride, pad),
            {"x": fill(name + "/x", shape)},
            attr={"kernel": kernel, "stride": stride, "pad": pad},
        )
    ties = torch.tensor(
        [[[[1.0, 1, 0, 2], [1, 0, 2, 2], [3, 3, -1, -1]]]], dtype=torch.float64
    ).requires_grad_()
    case(
        "maxpool2d.ties",
        lambda x: F.max_pool2d(x, 2, 2),
        {"x": ties},
        attr={"kernel": (2, 2), "stride": (2, 2), "pad": (0, 0)},
    )
    for name, (shape, kernel, stride, pad, include) in {
        "avgpool2d.half": ((2, 3, 7, 9), (2, 2), (2, 2), (0, 0), True),
        "avgpool2d.pad_counted": ((1, 2, 7, 6), (3, 3), (2, 2), (1, 1), True),
        "avgpool2d.pad_ignored": ((1, 2, 7, 6), (3, 3), (2, 2), (1, 1), False),
    }.items():
        case(
            name,
            lambda x: F.avg_pool2d(x, kernel, stride, pad, count_include_pad=include),
            {"x": fill(name + "/x", shape)},
            attr={"kernel": kernel, "stride": stride, "pad": pad, "count_include_pad": int(include)},
        )
    for name, (shape, size) in {
        "adaptive_avgpool2d.exact": ((2, 3, 9, 6), (3, 2)),
        "adaptive_avgpool2d.global": ((2, 3, 9, 5), (1, 1)),
        "adaptive_avgpool2d.inexact": ((1, 2, 7, 10), (3, 4)),
        "adaptive_avgpool2d.larger": ((1, 2, 3, 2), (5, 3)),
    }.items():
        case(
            name,
            lambda x: F.adaptive_avg_pool2d(x, size),
            {"x": fill(name + "/x", shape)},
            attr={"size": size},
        )


def normalisations():
    for name, shape, train in (
        ("batchnorm1d.train", (5, 3), True),
        ("batchnorm1d.eval", (5, 3), False),
        ("batchnorm2d.train", (3, 2, 5, 3), True),
        ("batchnorm2d.eval", (3, 2, 5, 3), False),
        ("batchnorm2d.single", (1, 2, 3, 1), True),
    ):
        channels = shape[1]
        mean, var = constant(name + "/mean", (channels,), 0.3), constant(name + "/var", (channels,), 0.5, 1.0)
        put(f"{name}/before/running_mean", mean)
        put(f"{name}/before/running_var", var)
        case(
            name,
            lambda x, weight, bias: F.batch_norm(x, mean, var, weight, bias, train, 0.1, 1e-5),
            {"x": fill(name + "/x", shape, 2.0, 0.5)},
            {
                "weight": fill(name + "/weight", (channels,), 0.5, 1.0),
                "bias": fill(name + "/bias", (channels,)),
            },
            {"eps": 1e-5, "momentum": 0.1},
        )
        put(f"{name}/after/running_mean", mean)
        put(f"{name}/after/running_var", var)
    for name, shape, width in (("layernorm.last", (5, 7), (7,)), ("layernorm.two", (2, 3, 5), (3, 5))):
        case(
            name,
            lambda x, weight, bias: F.layer_norm(x, width, weight, bias, 1e-5),
            {"x": fill(name + "/x", shape, 2.0, 0.5)},
            {"weight": fill(name + "/weight", width, 0.5, 1.0), "bias": fill(name + "/bias", width)},
            {"eps": 1e-5},
        )
    for name, shape, groups in (
        ("groupnorm.two", (3, 6, 3, 5), 2),
        ("groupnorm.instance", (2, 3, 5, 3), 3),
        ("groupnorm.one", (2, 3, 7), 1),
    ):
        case(
            name,
            lambda x, weight, bias: F.group_norm(x, groups, weight, bias, 1e-5),
            {"x": fill(name + "/x", shape, 2.0, 0.5)},
            {
                "weight": fill(name + "/weight", (shape[1],), 0.5, 1.0),
                "bias": fill(name + "/bias", (shape[1],)),
            },
            {"groups": groups, "eps": 1e-5},
        )


def activations():
    # scale 4 reaches the bent and the flat parts; the last entries test large magnitudes for overflow
    def sample(name):
        x = pattern.scaled(name + "/x", (5, 7), 4.0)
        x[-1, -4:] = (-90.0, 90.0, -25.0, 25.0)
        return torch.tensor(x).requires_grad_()

    table = {
        "relu": F.relu,
        "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
        "elu": lambda x: F.elu(x, 0.7),
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "silu": F.silu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "softplus": lambda x: torch.logaddexp(x, x.new_zeros(())),
        "log_sigmoid": F.logsigmoid,
    }
    for name, function in table.items():
        attr = {"leaky_relu": {"slope": 0.01}, "elu": {"alpha": 0.7}}.get(name, {})
        case(f"activation.{name}", lambda x: function(x), {"x": sample(f"activation.{name}")}, attr=attr)
    for name, function in (("softmax", torch.softmax), ("log_softmax", torch.log_softmax)):
        for axis in (0, 1):
            key = f"activation.{name}.axis{axis}"
            case(key, lambda x: function(x, axis), {"x": sample(key)}, attr={"axis": axis})


def pearson_hevisum(p, t):
    """1 - mean over rows of Pearson across the columns; denominator ||p~|| ||t~|| + 1e-8."""
    pc, tc = p - p.mean(1, keepdim=True), t - t.mean(1, keepdim=True)
    return 1 - ((pc * tc).sum(1) / (pc.norm(dim=1) * tc.norm(dim=1) + 1e-8)).mean()


def pearson_cuca(p, t):
    """Per column over the batch: centre, divide by sqrt(sum of squares + 1e-8); mean of 1 - r."""
    pc, tc = p - p.mean(0), t - t.mean(0)
    pc, tc = pc / (pc.pow(2).sum(0) + 1e-8).sqrt(), tc / (tc.pow(2).sum(0) + 1e-8).sqrt()
    return (1 - (pc * tc).sum(0)).mean()


def pairs(p, t):
    j, k = torch.triu_indices(p.shape[1], p.shape[1], 1)
    return p[:, j] - p[:, k], t[:, j] - t[:, k]


def pairwise_hinge(p, t):
    dp, dt = pairs(p, t)
    return (1 - dt.sign() * dp).clamp_min(0).mean()


def pairwise_logistic(p, t):
    dp, dt = pairs(p, t)
    return F.binary_cross_entropy_with_logits(dp, (dt > 0).to(dp.dtype))


def infonce_cuca(p, t):
    q, k = F.normalize(p, dim=1, eps=1e-12), F.normalize(t, dim=1, eps=1e-12)
    return F.cross_entropy(q @ k.T / 0.01, torch.arange(len(q)))


def losses():
    def two(name, function, attr=None, shape=(5, 7)):
        name = "loss." + name
        # both sides get a gradient; the ranges overlap so that no error is exactly zero
        case(
            name,
            function,
            {"p": fill(name + "/p", shape, 2.0), "t": fill(name + "/t", shape, 2.0, 0.25)},
            attr=attr,
        )

    def fixed(name, function, p, t, attr=None):
        case("loss." + name, lambda p, t: function(p, t), {"p": p}, attr=attr, fixed={"t": t})

    two("mse", lambda p, t: F.mse_loss(p, t))
    two("rmse", lambda p, t: F.mse_loss(p, t).sqrt())
    two("l1", lambda p, t: F.l1_loss(p, t))
    two("huber.delta1", lambda p, t: F.huber_loss(p, t, delta=1.0), {"delta": 1.0})
    two("huber.delta07", lambda p, t: F.huber_loss(p, t, delta=0.7), {"delta": 0.7})
    two("pearson.hevisum", pearson_hevisum, {"eps": 1e-8})
    two("pearson.cuca", pearson_cuca, {"eps": 1e-8})
    two("cosine", lambda p, t: (1 - F.cosine_similarity(p, t, dim=1, eps=1e-8)).mean(), {"eps": 1e-8})
    two("infonce.cuca", infonce_cuca, {"temperature": 0.01, "eps": 1e-12})
    two(
        "kl.log_target",
        lambda p, t: F.kl_div(p.log_softmax(1), t.log_softmax(1), log_target=True, reduction="batchmean"),
    )
    probability = constant("loss.bce/t", (5, 3), 0.5, 0.5)
    fixed("bce", F.binary_cross_entropy, fill("loss.bce/p", (5, 3), 0.45, 0.5), probability)
    logits = pattern.scaled("loss.bce_with_logits/p", (5, 3), 4.0)
    logits[-1] = (-90.0, 90.0, 30.0)
    fixed(
        "bce_with_logits",
        F.binary_cross_entropy_with_logits,
        torch.tensor(logits).requires_grad_(),
        probability,
    )
    fixed(
        "cross_entropy.index",
        F.cross_entropy,
        fill("loss.cross_entropy.index/p", (5, 3), 3.0),
        torch.tensor([0, 2, 1, 1, 2]),
    )
    fixed(
        "cross_entropy.soft",
        F.cross_entropy,
        fill("loss.cross_entropy.soft/p", (5, 3), 3.0),
        torch.softmax(constant("loss.cross_entropy.soft/t", (5, 3), 2.0), 1),
    )
    fixed(
        "cross_entropy.unnormalised",
        F.cross_entropy,
        fill("loss.cross_entropy.unnormalised/p", (5, 3), 3.0),
        constant("loss.cross_entropy.unnormalised/t", (5, 3), 0.5, 0.5),
    )
    # the known values of HEVisum's definition: MSE, R, hinge, logistic, the hybrids at alpha 0.5
    p, t = [[1, 2, 4], [0, 5, -1]], [[1, 3, 2], [2, 3, 1]]
    t = torch.tensor(t, dtype=torch.float64)
    mixed = {
        "mse": lambda p, t: F.mse_loss(p, t),
        "pearson": pearson_hevisum,
        "pairwise": pairwise_hinge,
        "logistic": pairwise_logistic,
        "hybrid_pearson": lambda p, t: F.mse_loss(p, t) * (0.5 + 0.5 * pearson_hevisum(p, t)),
        "hybrid_pairwise": lambda p, t: 0.5 * F.mse_loss(p, t) + 0.5 * pairwise_hinge(p, t),
        "hybrid_logistic": lambda p, t: 0.5 * F.mse_loss(p, t) + 0.5 * pairwise_logistic(p, t),
        "weighted": lambda p, t: F.mse_loss(p, t) * (1 + t.abs()).mean(),
    }
    golden = (2.833333, 0.369708, 0.5, 0.468538, 1.940420, 1.666667, 1.650936, 8.5)
    for (name, function), expected in zip(mixed.items(), golden):
        fixed(f"golden.{name}", function, torch.tensor(p, dtype=torch.float64).requires_grad_(), t)
        found = record[f"loss.golden.{name}/output/y"][0]
        if abs(found - expected) > 6e-7:
            raise AssertionError(f"loss.golden.{name} is {found:.7f}, expected {expected}")


def optimisers():
    o = torch.optim
    table = {
        "sgd": (o.SGD, dict(lr=0.05)),
        "sgd.momentum": (o.SGD, dict(lr=0.05, momentum=0.9)),
        "sgd.nesterov": (o.SGD, dict(lr=0.05, momentum=0.9, nesterov=True)),
        "sgd.decay": (o.SGD, dict(lr=0.05, momentum=0.9, weight_decay=0.1)),
        "sgd.dampening": (o.SGD, dict(lr=0.05, momentum=0.9, dampening=0.3)),
        "adam": (o.Adam, dict(lr=0.05)),
        "adam.decay": (o.Adam, dict(lr=0.05, weight_decay=0.1)),
        "adam.amsgrad": (o.Adam, dict(lr=0.05, amsgrad=True)),
        "adamw": (o.AdamW, dict(lr=0.05, weight_decay=0.1)),
        "adamw.betas": (o.AdamW, dict(lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.01)),
        "rmsprop": (o.RMSprop, dict(lr=0.02)),
        "rmsprop.momentum": (o.RMSprop, dict(lr=0.02, alpha=0.9, momentum=0.5, weight_decay=0.1)),
        "rmsprop.centered": (o.RMSprop, dict(lr=0.02, alpha=0.9, centered=True)),
        "adagrad": (o.Adagrad, dict(lr=0.1)),
        "adagrad.decay": (
            o.Adagrad,
            dict(lr=0.1, lr_decay=0.05, weight_decay=0.1, initial_accumulator_value=0.2),
        ),
        "adadelta": (o.Adadelta, dict(lr=1.0)),
        "adadelta.decay": (o.Adadelta, dict(lr=0.7, rho=0.8, weight_decay=0.1)),
        "radam": (o.RAdam, dict(lr=0.05)),
        "radam.decay": (o.RAdam, dict(lr=0.05, weight_decay=0.1)),
        "radam.decoupled": (o.RAdam, dict(lr=0.05, weight_decay=0.1, decoupled_weight_decay=True)),
    }
    a, c = constant("optim/a", (7,), 1.0, 2.0), constant("optim/c", (7,))
    start = constant("optim/w", (7,), 2.0)

    def objective(w):
        return 0.5 * (a * (w - c) ** 2).sum() + 0.5 * w.sum() ** 2

    for name, (kind, settings) in table.items():
        name = "optim." + name
        w = start.clone().requires_grad_()
        optimizer = kind([w], foreach=False, **settings)
        path, slopes, values = [w.detach().clone()], [], [objective(w).item()]
        for _ in range(10):
            optimizer.zero_grad()
            objective(w).backward()
            slopes.append(w.grad.clone())
            optimizer.step()
            path.append(w.detach().clone())
            values.append(objective(w).item())
        group = optimizer.param_groups[0]
        for key in (
            "lr",
            "momentum",
            "dampening",
            "weight_decay",
            "nesterov",
            "betas",
            "eps",
            "alpha",
            "centered",
            "lr_decay",
            "initial_accumulator_value",
            "rho",
            "amsgrad",
            "decoupled_weight_decay",
        ):
            if key in group:
                put(f"{name}/attr/{key}", group[key])
        put(f"{name}/attr/a", a)
        put(f"{name}/attr/c", c)
        put(f"{name}/output/w", torch.stack(path))
        put(f"{name}/output/grad", torch.stack(slopes))
        put(f"{name}/output/loss", values)
        for key, value in optimizer.state[w].items():
            if value is not None:
                put(f"{name}/after/{key}", value)


def schedules():
    s = torch.optim.lr_scheduler

    def rates(name, make, epochs, attr, metric=None, momentum=False, rate=2e-3):
        name = "schedule." + name
        w = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.Adam([w], lr=rate)
        scheduler = make(optimizer)
        used, beta = [], []
        for epoch in range(epochs):
            used.append(optimizer.param_groups[0]["lr"])
            beta.append(optimizer.param_groups[0]["betas"][0])
            optimizer.step()
            if epoch + 1 < epochs or not isinstance(scheduler, s.OneCycleLR):
                scheduler.step(*([] if metric is None else [metric[epoch]]))
        put(f"{name}/output/lr", used)
        if momentum:
            put(f"{name}/output/beta1", beta)
        if metric is not None:
            put(f"{name}/input/metric", metric)
        for key, value in {"base": rate, **attr}.items():
            put(f"{name}/attr/{key}", value)

    rates("step", lambda o: s.StepLR(o, 4, 0.9), 13, {"every": 4, "factor": 0.9})
    rates("multistep", lambda o: s.MultiStepLR(o, [3, 7], 0.1), 11, {"milestones": [3, 7], "factor": 0.1})
    rates("exponential", lambda o: s.ExponentialLR(o, 0.8), 7, {"factor": 0.8})
    rates("cosine", lambda o: s.CosineAnnealingLR(o, 20, 2e-4), 41, {"epochs": 20, "floor": 2e-4})
    rates("linear", lambda o: s.LinearLR(o, 1.0, 0.1, 5), 11, {"from": 1.0, "to": 0.1, "epochs": 5})
    rates(
        "onecycle",
        lambda o: s.OneCycleLR(
            o, 2e-3, total_steps=100, pct_start=0.2, anneal_strategy="cos", div_factor=10, final_div_factor=10
        ),
        100,
        {
            "peak": 2e-3,
            "total": 100,
            "warm": 0.2,
            "start_divisor": 10,
            "final_divisor": 100,
            "beta_high": 0.95,
            "beta_low": 0.85,
        },
        momentum=True,
    )
    for epoch, expected in (
        (0, 2e-4),
        (1, 2.12275e-4),
        (19, 2e-3),
        (20, 1.999237e-3),
        (50, 1.352656e-3),
        (99, 2e-5),
    ):
        found = record["schedule.onecycle/output/lr"][epoch]
        if abs(found - expected) > 1e-5 * expected:
            raise AssertionError(f"one-cycle rate at epoch {epoch} is {found}, expected {expected}")
    rates(
        "cyclic",
        lambda o: s.CyclicLR(o, 5e-4, 2e-3, step_size_up=3, mode="triangular", cycle_momentum=False),
        20,
        {"low": 5e-4, "high": 2e-3, "half_period": 3},
    )
    metric = [5, 4, 4.0, 3.9999, 4, 4.1, 3.9, 3.95, 3.9, 4, 4.2, 3.8999, 4, 4, 4, 4, 4, 4, 1, 1]
    rates(
        "plateau",
        lambda o: s.ReduceLROnPlateau(o, "min", 0.5, 2, threshold=1e-4, threshold_mode="rel", min_lr=3e-4),
        len(metric),
        {"factor": 0.5, "patience": 2, "threshold": 1e-4, "floor": 3e-4, "mode_max": 0},
        metric=metric,
    )

    # closed forms that no framework class gives
    base, floor = 1e-3, 1e-6
    hevisum = [floor + 0.5 * (base - floor) * (1 + math.cos(math.pi * e / 30)) for e in range(61)]
    for epoch, expected in (
        (0, 1e-3),
        (1, 9.972637e-4),
        (10, 7.5025e-4),
        (15, 5.005e-4),
        (29, 3.7363e-6),
        (30, 1e-6),
        (60, 1e-3),
    ):
        if abs(hevisum[epoch] - expected) > 1e-5 * expected:
            raise AssertionError(f"HEVisum rate at epoch {epoch} is {hevisum[epoch]}, expected {expected}")
    put("schedule.cosine.hevisum/output/lr", hevisum)
    put("schedule.cosine.hevisum/output/lr_clamped", hevisum[:31] + [floor] * 30)
    warm, epochs, rate = 10, 40, 1e-4
    put(
        "schedule.warmup_cosine/output/lr",
        [
            (
                rate * (0.01 + 0.99 * e / warm)
                if e < warm
                else floor + (rate - floor) * (1 + math.cos(math.pi * (e - warm) / (epochs - warm))) / 2
            )
            for e in range(epochs)
        ],
    )
    for name, values in (
        ("cosine.hevisum", {"base": base, "floor": floor, "epochs": 30}),
        (
            "warmup_cosine",
            {"base": rate, "floor": floor, "warmup": warm, "epochs": epochs, "warmup_from": 0.01},
        ),
    ):
        for key, value in values.items():
            put(f"schedule.{name}/attr/{key}", value)


def metrics():
    prediction = pattern.scaled("metric/prediction", (9, 5), 3.0)
    target = pattern.scaled("metric/target", (9, 5), 2.0) + 0.6 * prediction
    tied_prediction, tied_target = np.round(prediction), np.round(target)
    flat_prediction = prediction.copy()
    flat_prediction[:, 2] = 1.25  # a constant column: correlation undefined, NaN by SciPy's convention

    def r2(p, t):
        return 1 - ((t - p) ** 2).sum() / ((t - t.mean()) ** 2).sum()

    functions = {
        "pearson": lambda p, t: scipy.stats.pearsonr(p, t).statistic,
        "spearman": lambda p, t: scipy.stats.spearmanr(p, t).statistic,
        "r2": r2,
        "mse": lambda p, t: ((p - t) ** 2).mean(),
        "mae": lambda p, t: np.abs(p - t).mean(),
    }
    data = {
        "plain": (prediction, target),
        "ties": (tied_prediction, tied_target),
        "constant": (flat_prediction, target),
    }
    warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
    for data_name, (p, t) in data.items():
        for name, function in functions.items():
            key = f"metric.{name}.{data_name}"
            put(f"{key}/input/prediction", p)
            put(f"{key}/input/target", t)
            put(f"{key}/output/axis0", [function(p[:, j], t[:, j]) for j in range(p.shape[1])])
            put(f"{key}/output/axis1", [function(p[i], t[i]) for i in range(p.shape[0])])
            put(f"{key}/output/all", function(p.ravel(), t.ravel()))
    put("metric.ranks.ties/input/prediction", tied_prediction)
    put("metric.ranks.ties/output/axis0", scipy.stats.rankdata(tied_prediction, axis=0))
    put("metric.ranks.ties/output/axis1", scipy.stats.rankdata(tied_prediction, axis=1))
    put(
        "metric.ranks.ties/output/ordinal_axis1",
        scipy.stats.rankdata(tied_prediction, method="ordinal", axis=1),
    )


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default=os.path.join(here, "modules.safetensors"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for family in (layers, pools, normalisations, activations, losses, optimisers, schedules, metrics):
        family()
    bad = [
        name
        for name, value in record.items()
        if not np.isfinite(value).all() and ".constant/" not in name or value.size == 0
    ]
    if bad:
        raise AssertionError(f"not finite or empty: {', '.join(bad)}")
    save_file(
        record,
        arguments.out,
        # one key only: the writer's order of several changes from run to run
        metadata={"made_by": f"tests/parity/modules_reference.py with PyTorch {torch.__version__}"},
    )
    os.chmod(arguments.out, 0o644)
    cases = sorted({name.split("/")[0] for name in record})
    for name in cases:
        parts = [
            f"{key.split('/', 1)[1]}{list(value.shape)}"
            for key, value in record.items()
            if key.split("/")[0] == name
        ]
        print(f"{name:32s} {' '.join(parts)}")
    print(
        f"{arguments.out}: {len(cases)} cases, {len(record)} tensors, {os.path.getsize(arguments.out)} bytes"
    )


if __name__ == "__main__":
    main()
