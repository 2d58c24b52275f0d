// How every case of modules.safetensors is written in stmc: one recipe per case, shared by modules_spec.c
// (which makes a spec of a family's recipes, with the shapes of the recording) and modules_test.c (which runs
// and compares it).
//
// In a recipe `$` stands for the case's name with `_` for `.`: $x is the recorded input x, $y the recorded
// output y, and `$: linear(3)` gives the recorded parameters their names. An optimizer's recipe is the
// optimizer, a schedule's the rate.
#pragma once

#include <stddef.h>
#include <string.h>

typedef struct Recipe {
    const char *family, *name, *text;
} Recipe;

typedef struct Preamble { // declarations of a family
    const char *family, *text;
} Preamble;

enum { RECIPE_ID = 64 };

// The case's name as it stands in tensor names.
static inline void recipe_id(const char *name, char id[RECIPE_ID]) {
    size_t i = 0;
    for (; name[i] && i < RECIPE_ID - 1; i++) id[i] = name[i];
    id[i] = 0;
    for (char *dot = id; (dot = strchr(dot, '.')) != NULL;) *dot = '_';
}

static const Preamble preambles[] = {
    {"layers", "use nn\n"},
    {"pools", "use nn\n"},
    {"norms", "use nn\n"},
    // stdlib/nn.stm with `if false` for `if training`, made by run.sh
    {"norms_eval", "use \"nn_eval.stm\"\n"},
    {"activations", "use nn\n"},
    {"losses", "use nn, loss\n"
               "# Over all pairs of columns (HEVisum).\n"
               "function pairwise_hinge(p[b, k], t[b, k]) -> loss {\n"
               "    h[b, i, j] = max(1 - sign(t[b, i] - t[b, j]) * (p[b, i] - p[b, j]), 0)\n"
               "    m[b] = mean[i, j where i < j] h[b, i, j]\n"
               "    loss = mean(m)\n"
               "}\n"
               "function pairwise_logistic(p[b, k], t[b, k]) -> loss {\n"
               "    z[b, i, j] = p[b, i] - p[b, j]\n"
               "    l[b, i, j] = -log_sigmoid(z[b, i, j]) where t[b, i] > t[b, j] else -log_sigmoid(-z[b, i, j])\n"
               "    m[b] = mean[i, j where i < j] l[b, i, j]\n"
               "    loss = mean(m)\n"
               "}\n"},
    {"optimizers", "use optim\n"},
    {"schedules",
     "use schedule\n"
     "schedule multistep(first, second, gamma) = gamma ^ (float(epoch >= first) + float(epoch >= second))\n"},
    {"metrics", "use metric\n"
                "function as_row(x[n, k]) -> y[1, m] {\n"
                "    m = n * k\n"
                "    y[z < 1, (n k)] = x[n, k]\n"
                "}\n"
                "function as_column(x[n, k]) -> y[m, 1] {\n"
                "    m = n * k\n"
                "    y[(n k), z < 1] = x[n, k]\n"
                "}\n"
                "function only(x[1]) -> y { y = x[0] }\n"
                "function ratio(r[n], defined[n]) -> y[n] { y[n] = r[n] / defined[n] }  # else NaN, as SciPy\n"},
};

// The metrics of one of the three tables.
#define METRICS(table)                                                                                                 \
    {"metrics", "metric.pearson." table, METRIC_PEARSON}, {"metrics", "metric.spearman." table, METRIC_SPEARMAN},      \
        {"metrics", "metric.r2." table, METRIC_R2}, {"metrics", "metric.mse." table, METRIC_MSE}, {                    \
        "metrics", "metric.mae." table, METRIC_MAE                                                                     \
    }
#define METRIC_PEARSON                                                                                                 \
    "$r, $d = pearson_columns($prediction, $target)   $axis0 = ratio($r, $d)\n"                                        \
    "    $s, $e = pearson_rows($prediction, $target)  $axis1 = ratio($s, $e)\n"                                        \
    "    $all = pearson_all($prediction, $target)"
#define METRIC_SPEARMAN                                                                                                \
    "$r, $d = spearman_columns($prediction, $target)   $axis0 = ratio($r, $d)\n"                                       \
    "    $s, $e = spearman_rows($prediction, $target)  $axis1 = ratio($s, $e)\n"                                       \
    "    $u, $f = spearman_rows(as_row($prediction), as_row($target))  $all = only(ratio($u, $f))"
#define METRIC_R2                                                                                                      \
    "$axis0 = r2_columns($prediction, $target)\n"                                                                      \
    "    $axis1 = r2_columns(transpose($prediction), transpose($target))\n"                                            \
    "    $all = only(r2_columns(as_column($prediction), as_column($target)))"
#define METRIC_MSE                                                                                                     \
    "$axis0 = mse_columns($prediction, $target)\n"                                                                     \
    "    $axis1 = mse_columns(transpose($prediction), transpose($target))\n"                                           \
    "    $all = mean_squared_error($prediction, $target)"
#define METRIC_MAE                                                                                                     \
    "$axis0 = mae_columns($prediction, $target)\n"                                                                     \
    "    $axis1 = mae_columns(transpose($prediction), transpose($target))\n"                                           \
    "    $all = mean_absolute_error($prediction, $target)"

static const Recipe recipes[] = {
    {"layers", "linear.rank2", "$y = $x |> $: linear(3)"},
    {"layers", "linear.rank3", "$y = $x |> $: linear(3)"},
    {"layers", "linear.one", "$y = $x |> $: linear(3)"},
    {"layers", "linear.nobias", "$y = $x |> $: linear(3, bias = false)"},
    {"layers", "conv2d.plain", "$y = $x |> $: conv2d(5, pad = 1)"},
    {"layers", "conv2d.valid", "$y = $x |> $: conv2d(3)"},
    {"layers", "conv2d.one", "$y = $x |> $: conv2d(3, kernel = 1)"},
    {"layers", "conv2d.stride", "$y = $x |> $: conv2d(4, stride = 2, pad = 1)"},
    {"layers", "conv2d.uneven",
     "$y = $x |> $: conv2d(3, kernel = 2, kernel_w = 5, stride = 2, stride_w = 3, pad = 1, pad_w = 2)"},
    {"layers", "conv2d.dilation", "$y = $x |> $: conv2d(3, pad = 2, dilation = 2)"},
    {"layers", "conv2d.groups", "$y = $x |> $: conv2d(6, pad = 1, groups = 2)"},
    {"layers", "conv2d.depthwise", "$y = $x |> $: depthwise2d(pad = 1)"},
    {"layers", "conv2d.all",
     "$y = $x |> $: conv2d(6, kernel = 3, kernel_w = 2, stride = 2, stride_w = 1, pad = 1, pad_w = 2,\n"
     "        dilation = 2, dilation_w = 3, groups = 2)"},
    {"layers", "conv2d.tiny", "$y = $x |> $: conv2d(1, pad = 1)"},
    {"layers", "embedding", "$y = $index |> $: embedding(6, 3)"},

    {"pools", "maxpool2d.half", "$y = $x |> maxpool2d"},
    {"pools", "maxpool2d.overlap", "$y = $x |> maxpool2d(3, stride = 2, pad = 1)"},
    {"pools", "maxpool2d.uneven", "$y = $x |> maxpool2d(2, stride = 1, size_w = 3, stride_w = 2, pad_w = 1)"},
    {"pools", "maxpool2d.ties", "$y = $x |> maxpool2d"},
    {"pools", "avgpool2d.half", "$y = $x |> avgpool2d"},
    {"pools", "avgpool2d.pad_counted", "$y = $x |> avgpool2d(3, stride = 2, pad = 1)"},
    {"pools", "avgpool2d.pad_ignored", "$y = $x |> avgpool2d(3, stride = 2, pad = 1, count_pad = false)"},
    {"pools", "adaptive_avgpool2d.exact", "$y = $x |> adaptive_avgpool2d(3, 2)"},
    {"pools", "adaptive_avgpool2d.global", "$y = $x |> adaptive_avgpool2d(1)"},
    {"pools", "adaptive_avgpool2d.inexact", "$y = $x |> adaptive_avgpool2d(3, 4)"},
    {"pools", "adaptive_avgpool2d.larger", "$y = $x |> adaptive_avgpool2d(5, 3)"},

    {"norms", "batchnorm1d.train", "$y = $x |> $: batchnorm1d"},
    {"norms", "batchnorm2d.train", "$y = $x |> $: batchnorm2d"},
    {"norms", "batchnorm2d.single", "$y = $x |> $: batchnorm2d"},
    {"norms", "layernorm.last", "$y = $x |> $: layernorm"},
    {"norms", "layernorm.two", "$y = $x |> $: layernorm2"},
    {"norms", "groupnorm.two", "$y = $x |> $: groupnorm(2)"},
    {"norms", "groupnorm.instance", "$y = $x |> $: groupnorm(3)"},
    {"norms", "groupnorm.one", "$y = $x |> $: groupnorm(1)"},
    {"norms_eval", "batchnorm1d.eval", "$y = $x |> $: batchnorm1d"},
    {"norms_eval", "batchnorm2d.eval", "$y = $x |> $: batchnorm2d"},

    {"activations", "activation.relu", "$y = relu($x)"},
    {"activations", "activation.leaky_relu", "$y = leaky_relu($x)"},
    {"activations", "activation.elu", "$y = elu($x, 0.7)"},
    {"activations", "activation.gelu", "$y = gelu($x)"},
    {"activations", "activation.gelu_tanh", "$y = gelu_tanh($x)"},
    {"activations", "activation.silu", "$y = silu($x)"},
    {"activations", "activation.sigmoid", "$y = sigmoid($x)"},
    {"activations", "activation.tanh", "$y = tanh($x)"},
    {"activations", "activation.softplus", "$y = softplus($x, 40)"}, // the recording has no threshold
    {"activations", "activation.log_sigmoid", "$y = log_sigmoid($x)"},
    {"activations", "activation.softmax.axis0", "$y[i, j] = softmax[i]($x[i, j])"},
    {"activations", "activation.softmax.axis1", "$y = softmax($x)"},
    {"activations", "activation.log_softmax.axis0", "$y[i, j] = log_softmax[i]($x[i, j])"},
    {"activations", "activation.log_softmax.axis1", "$y = log_softmax($x)"},

    {"losses", "loss.mse", "$y = mse($p, $t)"},
    {"losses", "loss.rmse", "$y = rmse($p, $t)"},
    {"losses", "loss.l1", "$y = l1($p, $t)"},
    {"losses", "loss.huber.delta1", "$y = huber($p, $t)"},
    {"losses", "loss.huber.delta07", "$y = huber($p, $t, delta = 0.7)"},
    {"losses", "loss.pearson.hevisum", "$y = pearson_rows_loss($p, $t)"},
    {"losses", "loss.pearson.cuca", "$y = pearson_columns_loss($p, $t)"},
    {"losses", "loss.cosine", "$y = cosine_loss($p, $t)"},
    {"losses", "loss.infonce.cuca", "$y = infonce($p, $t)"},
    {"losses", "loss.kl.log_target", "$y = kl($p, $t)"},
    {"losses", "loss.bce", "$y = bce($p, $t)"},
    {"losses", "loss.bce_with_logits", "$y = bce_with_logits($p, $t)"},
    {"losses", "loss.cross_entropy.index", "$y = cross_entropy($p, $t)"},
    {"losses", "loss.cross_entropy.soft", "$y = cross_entropy_soft($p, $t)"},
    {"losses", "loss.cross_entropy.unnormalised", "$y = cross_entropy_soft($p, $t)"},
    {"losses", "loss.golden.mse", "$y = mse($p, $t)"},
    {"losses", "loss.golden.pearson", "$y = pearson_rows_loss($p, $t)"},
    {"losses", "loss.golden.pairwise", "$y = pairwise_hinge($p, $t)"},
    {"losses", "loss.golden.logistic", "$y = pairwise_logistic($p, $t)"},
    {"losses", "loss.golden.hybrid_pearson", "$y = mse($p, $t) * (0.5 + 0.5 * pearson_rows_loss($p, $t))"},
    {"losses", "loss.golden.hybrid_pairwise", "$y = 0.5 * mse($p, $t) + 0.5 * pairwise_hinge($p, $t)"},
    {"losses", "loss.golden.hybrid_logistic", "$y = 0.5 * mse($p, $t) + 0.5 * pairwise_logistic($p, $t)"},
    {"losses", "loss.golden.weighted", "$y = mse($p, $t) * mean(1 + abs($t))"},

    {"optimizers", "optim.sgd", "sgd(lr = 0.05)"},
    {"optimizers", "optim.sgd.momentum", "sgd(lr = 0.05, momentum = 0.9)"},
    {"optimizers", "optim.sgd.nesterov", "sgd(lr = 0.05, momentum = 0.9, nesterov = true)"},
    {"optimizers", "optim.sgd.decay", "sgd(lr = 0.05, momentum = 0.9, weight_decay = 0.1)"},
    {"optimizers", "optim.sgd.dampening", "sgd(lr = 0.05, momentum = 0.9, dampening = 0.3)"},
    {"optimizers", "optim.adam", "adam(lr = 0.05)"},
    {"optimizers", "optim.adam.decay", "adam(lr = 0.05, weight_decay = 0.1)"},
    {"optimizers", "optim.adam.amsgrad", "adam(lr = 0.05, amsgrad = true)"},
    {"optimizers", "optim.adamw", "adamw(lr = 0.05, weight_decay = 0.1)"},
    {"optimizers", "optim.adamw.betas", "adamw(lr = 0.05, beta1 = 0.8, beta2 = 0.95, eps = 1e-6, weight_decay = 0.01)"},
    {"optimizers", "optim.rmsprop", "rmsprop(lr = 0.02)"},
    {"optimizers", "optim.rmsprop.momentum", "rmsprop(lr = 0.02, alpha = 0.9, momentum = 0.5, weight_decay = 0.1)"},
    {"optimizers", "optim.rmsprop.centered", "rmsprop(lr = 0.02, alpha = 0.9, centered = true)"},
    {"optimizers", "optim.adagrad", "adagrad(lr = 0.1)"},
    {"optimizers", "optim.adagrad.decay", "adagrad(lr = 0.1, lr_decay = 0.05, weight_decay = 0.1)"},
    {"optimizers", "optim.adadelta", "adadelta(lr = 1)"},
    {"optimizers", "optim.adadelta.decay", "adadelta(lr = 0.7, rho = 0.8, weight_decay = 0.1)"},
    {"optimizers", "optim.radam", "radam(lr = 0.05)"},
    {"optimizers", "optim.radam.decay", "radam(lr = 0.05, weight_decay = 0.1)"},
    {"optimizers", "optim.radam.decoupled", "radam(lr = 0.05, weight_decay = 0.1, decoupled = true)"},

    {"schedules", "schedule.step", "$lr = 2e-3 * step_decay(4, gamma = 0.9)"},
    {"schedules", "schedule.multistep", "$lr = 2e-3 * multistep(3, 7, 0.1)"},
    {"schedules", "schedule.exponential", "$lr = 2e-3 * exponential(0.8)"},
    {"schedules", "schedule.cosine", "$lr = 2e-3 * cosine_wave(20, lowest = 0.1)"},
    {"schedules", "schedule.cosine.hevisum",
     "$lr = 1e-3 * cosine_wave(30, lowest = 1e-3)\n    $lr_clamped = 1e-3 * cosine(over = 30, lowest = "
     "1e-3)"},
    {"schedules", "schedule.linear", "$lr = 2e-3 * ramp(0.1, 5)"},
    {"schedules", "schedule.onecycle",
     "$lr = 2e-3 * one_cycle(share = 0.2, divide = 10, last_divide = 10)\n"
     "    $beta1 = 0.95 - 0.1 * one_cycle_at(epoch, 19, 99, 0, 0)"},
    {"schedules", "schedule.cyclic", "$lr = 2e-3 * cyclic(3, 0.25)"},
    {"schedules", "schedule.plateau", "$lr = 2e-3 * plateau(by = 0.5, patience = 2, threshold = 1e-4, lowest = 0.15)"},
    {"schedules", "schedule.warmup_cosine", "$lr = 1e-4 * warmup(10) * cosine(start = 10, lowest = 0.01)"},

    METRICS("plain"),
    METRICS("ties"),
    METRICS("constant"),
    {"metrics", "metric.ranks.ties",
     "$axis0 = transpose(ranks(transpose($prediction)))\n"
     "    $axis1 = ranks($prediction)\n"
     "    $ordinal_axis1 = ordinal_ranks($prediction)"},
};

enum { RECIPES = sizeof recipes / sizeof *recipes, PREAMBLES = sizeof preambles / sizeof *preambles };
