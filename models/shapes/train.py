#!/usr/bin/env python3
"""Trains the network that `resnet` uses when it is given no weights, and measures it.

    train.py train TRAIN... --validate VALIDATE --checkpoint CHECKPOINT.pt --minutes 60 --out shapes.f16.safetensors
    resnet convert --weights-as int8 shapes.f16.safetensors -o shapes.int8.safetensors
    train.py evaluate shapes.int8.safetensors TEST

TRAIN, VALIDATE and TEST are folders that `cargo run --release --example shapes` wrote. The network is
the ResNet-50 of the classic notebook: 64x64 RGB pixels divided by 255, the stride on the first 1x1 of
a block, biases in the convolutions, batch normalisation with Keras' epsilon, a max pool without padding,
and a 2x2 average pool before the classifier. It is written under Keras' names in half precision; what is
written is the moving average of the weights over the last steps, whose classifier is divided by the temperature
that fits the validation pictures best (Guo et al. 2017, "On calibration of modern neural networks").

The learning rate follows the processor's time, not the number of steps: the training ends on time on any
machine, and loses nothing while others use it or it sleeps. One thread is the default, because threads that wait for each other on a shared
machine were four times slower. Needs numpy, safetensors and torch.
"""

import argparse
import copy
import json
import math
import os
import time

import numpy
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

EPSILON = 1e-3
SIZE = 64
# Side of the pictures in the first part of the training, which is faster for it.
SMALL = 48
BATCH = 64
WARM_UP = 0.05
# What is written is a moving average over the last part of the training, which takes this share of each step.
AVERAGE_FROM, AVERAGE_SHARE = 0.7, 0.02
STAGES = [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)]


class ConvNorm(nn.Module):
    """A convolution with a bias, and its batch normalisation, under their Keras names."""

    def __init__(self, conv_name, norm_name, in_c, out_c, window, stride=1, padding=0):
        super().__init__()
        self.names = conv_name, norm_name
        self.conv = nn.Conv2d(in_c, out_c, window, stride, padding)
        self.norm = nn.BatchNorm2d(out_c, eps=EPSILON)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)

    def forward(self, x):
        return self.norm(self.conv(x))


class Block(nn.Module):
    """Three convolutions and a shortcut, which has a convolution where the shape changes."""

    def __init__(self, name, in_c, filters, stride, convolutional):
        super().__init__()
        res, bn = f"res{name}_branch", f"bn{name}_branch"
        out_c = 4 * filters
        self.a = ConvNorm(res + "2a", bn + "2a", in_c, filters, 1, stride)
        self.b = ConvNorm(res + "2b", bn + "2b", filters, filters, 3, 1, 1)
        self.c = ConvNorm(res + "2c", bn + "2c", filters, out_c, 1)
        self.shortcut = nn.Identity()
        if convolutional:
            self.shortcut = ConvNorm(res + "1", bn + "1", in_c, out_c, 1, stride)
        # A block starts as its shortcut: deep networks then learn from the first step on.
        nn.init.zeros_(self.c.norm.weight)

    def forward(self, x):
        return F.relu(self.c(F.relu(self.b(F.relu(self.a(x))))) + self.shortcut(x))


class Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = ConvNorm("conv1", "bn_conv1", 3, 64, 7, 2, 3)
        blocks, channels = [], 64
        for stage, (count, filters, stride) in enumerate(STAGES, 2):
            for i in range(count):
                name = f"{stage}{'abcdef'[i]}"
                blocks.append(Block(name, channels, filters, stride if i == 0 else 1, i == 0))
                channels = 4 * filters
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)
        return self.fc(F.avg_pool2d(self.blocks(x), 2).flatten(1))

    def freeze(self, stages):
        """Keeps the stem and so many of the four stages as they are; returns what is kept."""
        kept = [self.stem, *self.blocks[: sum(count for count, _, _ in STAGES[:stages])]] if stages else []
        for module in kept:
            module.requires_grad_(False)
        return kept

    def keras_tensors(self):
        """Views of the parameters by their Keras names: HWIO kernels, [in, out] for the classifier."""
        tensors = {}
        for module in self.modules():
            if isinstance(module, ConvNorm):
                conv, norm = module.names
                tensors[conv + "/kernel"] = module.conv.weight.permute(2, 3, 1, 0)
                tensors[conv + "/bias"] = module.conv.bias
                tensors[norm + "/gamma"] = module.norm.weight
                tensors[norm + "/beta"] = module.norm.bias
                tensors[norm + "/moving_mean"] = module.norm.running_mean
                tensors[norm + "/moving_variance"] = module.norm.running_var
        fc = f"fc{self.fc.out_features}"
        tensors[fc + "/kernel"] = self.fc.weight.t()
        tensors[fc + "/bias"] = self.fc.bias
        return {name: tensor.detach() for name, tensor in tensors.items()}


def load(folder):
    """Loads the pixels (uint8, NCHW), the labels and the class names of a data set."""
    images = torch.from_numpy(numpy.load(os.path.join(folder, "images.npy"))).permute(0, 3, 1, 2)
    labels = torch.from_numpy(numpy.load(os.path.join(folder, "labels.npy"))).long()
    with open(os.path.join(folder, "classes.txt")) as file:
        return images, labels, file.read().split("\n")[:-1]


def augment(pixels, size, strength):
    """Varies colours, positions and sharpness, so that the network does not learn the renderer's. The
    strength fades from 1 to 0 towards the end of training, when pictures are left unchanged."""
    n = len(pixels)
    x = pixels.float() / 255
    dx, dy = (int(d) for d in torch.randint(0, 9, (2,)))
    x = F.pad(x, (4, 4, 4, 4), mode="replicate")[:, :, dy : dy + SIZE, dx : dx + SIZE]
    flip = torch.rand(n, 1, 1, 1) < 0.5
    x = torch.where(flip, x.flip(3), x)
    # As larger pictures become when they are made smaller, up to a 3x3 mean.
    if torch.rand(()) < 0.4 * strength:
        blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x = torch.lerp(x, blurred, torch.rand(n, 1, 1, 1))
    contrast = 1 + strength * (0.5 * torch.rand(n, 1, 1, 1) - 0.25)
    x = (x - 0.5) * contrast + 0.5 + 0.3 * strength * (torch.rand(n, 1, 1, 1) - 0.5)
    x = (x * (1 + 0.2 * strength * (torch.rand(n, 3, 1, 1) - 0.5))).clamp(0, 1)
    if size != SIZE:
        x = F.interpolate(x, (size, size), mode="area")
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def logits(network, images, half):
    network.eval()
    out = []
    for pixels in images.split(200):
        x = (pixels.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out.append(network(x).float())
    return torch.cat(out)


def cycle(progress):
    """Fraction of the peak learning rate: a linear rise, then half a cosine down to almost zero."""
    if progress < WARM_UP:
        return 0.05 + 0.95 * progress / WARM_UP
    rest = (progress - WARM_UP) / (1 - WARM_UP)
    return max(0.5 * (1 + math.cos(math.pi * min(rest, 1.0))), 1e-3)


def parameters(network):
    """Applies weight decay to kernels, but not to biases and batch normalisations."""
    trained = [p for p in network.parameters() if p.requires_grad]
    kernels = [p for p in trained if p.dim() > 1]
    others = [p for p in trained if p.dim() <= 1]
    return [{"params": kernels, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]


def batches(labels, classes, part):
    """The pictures of each step of an epoch: each once, or so large a part of them of the last class."""
    if part is None:
        for chosen in torch.randperm(len(labels)).split(BATCH):
            if len(chosen) == BATCH:
                yield chosen
        return
    is_last = labels == classes - 1
    last, others = is_last.nonzero().flatten(), (~is_last).nonzero().flatten()
    count = round(part * BATCH)
    for _ in range(len(labels) // BATCH):
        drawn = last[torch.randint(len(last), (count,))], others[torch.randint(len(others), (BATCH - count,))]
        yield torch.cat(drawn)


def frequencies(classes, part):
    """What is added to the logits in training, since the last class is drawn more often than the others (Menon et
    al. 2021, "Long-tail learning via logit adjustment"): half of it, for it is also more varied."""
    if part is None:
        return torch.zeros(classes)
    shares = torch.full((classes,), (1 - part) / (classes - 1))
    shares[-1] = part
    return 0.5 * torch.log(shares * classes)


@torch.no_grad()
def move(average, network, share):
    """Updates the moving average of the weights and running statistics."""
    for mean, value in zip(average.state_dict().values(), network.state_dict().values()):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, share)


def train(args):
    torch.manual_seed(args.seed)
    folders = [load(folder) for folder in args.train]
    images, labels = torch.cat([f[0] for f in folders]), torch.cat([f[1] for f in folders])
    classes = folders[0][2]
    held_images, held_labels, _ = load(args.validate)
    network = read(args.start, len(classes)) if args.start else Network(len(classes))
    network = network.to(memory_format=torch.channels_last)
    frozen = network.freeze(args.freeze)
    average = copy.deepcopy(network).requires_grad_(False)
    # Gradient descent with momentum still guessed after the 140 steps that took this to 17 %.
    optimizer = torch.optim.AdamW(parameters(network), betas=(0.9, 0.99), fused=True)
    prior = frequencies(len(classes), args.last_class)
    epoch, steps, elapsed = 0, 0, 0.0
    if os.path.exists(args.checkpoint):
        state = torch.load(args.checkpoint)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        epoch, steps, elapsed = state["epoch"], state["steps"], state["elapsed"]
        torch.manual_seed(args.seed + epoch)
    budget = 60 * args.minutes
    while elapsed < budget:
        network.train()
        for module in frozen:
            module.eval()
        total, seen, start, before = 0.0, 0, time.process_time(), elapsed
        for chosen in batches(labels, len(classes), args.last_class):
            elapsed = before + (time.process_time() - start) / args.threads
            progress = elapsed / budget
            if progress >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = args.rate * cycle(progress)
            size = SMALL if progress < args.small else SIZE
            x = augment(images[chosen], size, min(1.0, 4 * (1 - progress)))
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
                y = network(x)
            loss = F.cross_entropy(y.float() + prior, labels[chosen], label_smoothing=args.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, seen, steps = total + float(loss.detach()), seen + BATCH, steps + 1
            move(average, network, AVERAGE_SHARE if progress > AVERAGE_FROM else 1.0)
            if steps % 50 == 0:
                rate = seen / (elapsed - before)
                print(f"  step {steps} {100 * progress:.1f} % loss {total * BATCH / seen:.3f} {rate:.0f} pictures/s", flush=True)
        epoch += 1
        right = (logits(average, held_images, args.bfloat16).argmax(1) == held_labels).float().mean()
        print(f"epoch {epoch} at {elapsed / 60:.1f} min: loss {total * BATCH / max(seen, 1):.3f} accuracy {right:.4f}", flush=True)
        state = {"network": network.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
        state.update(epoch=epoch, steps=steps, elapsed=elapsed)
        torch.save(state, args.checkpoint + ".part")
        os.replace(args.checkpoint + ".part", args.checkpoint)
    print(f"{steps} steps of {BATCH} pictures")
    if args.find:
        find(average, held_images[held_labels == len(classes) - 1], args.find)
    cool(average, held_images, held_labels)
    write(average, classes, args.out)


def find(network, images, part):
    """Raises the bias of the last class until so large a part of its pictures is called by its name."""
    *others, last = logits(network, images, False).unbind(1)
    missing = (torch.stack(others).amax(0) - last).sort().values
    bias = float(missing[math.ceil(part * len(missing)) - 1].clamp(min=0)) + 1e-3
    print(f"bias of the last class {bias:+.3f}")
    with torch.no_grad():
        network.fc.bias[-1] += bias


def cool(network, images, labels):
    """Divides the classifier by the temperature at which the cross entropy is smallest."""
    all_logits = logits(network, images, False)
    temperatures = torch.logspace(-1, 1, 401)
    losses = torch.stack([F.cross_entropy(all_logits / t, labels) for t in temperatures])
    temperature = float(temperatures[losses.argmin()])
    print(f"temperature {temperature:.3f}")
    with torch.no_grad():
        network.fc.weight /= temperature
        network.fc.bias /= temperature


def calibration_error(probabilities, labels, bins=15):
    """The expected calibration error: confidence against accuracy in bins of equal width, weighted by their size."""
    confidence, predicted = probabilities.max(1)
    right = (predicted == labels).float()
    error = 0.0
    for at in range(bins):
        inside = (confidence > at / bins) & (confidence <= (at + 1) / bins)
        if inside.any():
            gap = right[inside].mean() - confidence[inside].mean()
            error += float(inside.float().mean() * gap.abs())
    return error


def write(network, classes, path):
    """Writes a self-describing file."""
    metadata = {
        "family": "notebook",
        "epsilon": f"{EPSILON:g}",
        "preprocess": "notebook",
        "labels": json.dumps(classes),
    }
    tensors = {name: tensor.half().contiguous() for name, tensor in network.keras_tensors().items()}
    save_file(tensors, path + ".part", metadata=metadata)
    os.replace(path + ".part", path)


def read(path, classes):
    """Reads a network that `write` wrote, or what `resnet convert` made of it, in single precision. It may have
    fewer classes; the last ones then begin without an opinion."""
    tensors = load_file(path)
    known = next(len(tensors[name]) for name in tensors if name.startswith("fc") and name.endswith("bias"))
    network = Network(known)
    for name, target in network.keras_tensors().items():
        if name in tensors:
            target.copy_(tensors.pop(name).float())
        else:
            target.copy_(converted(tensors, name, target.dim()))
    assert not tensors, f"{path} has more: {sorted(tensors)[:3]}"
    if known < classes:
        fc = nn.Linear(network.fc.in_features, classes)
        with torch.no_grad():
            nn.init.zeros_(fc.weight)
            nn.init.zeros_(fc.bias)
            fc.weight[:known], fc.bias[:known] = network.fc.weight, network.fc.bias
        network.fc = fc
    return network


CONVERTED = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def converted(tensors, name, dimensions):
    """A tensor under PyTorch's name and in its order; kernels in 8 bits have a scale for each output channel."""
    layer, part = name.split("/")
    name = f"{layer}.{CONVERTED.get(part, part)}"
    value = tensors.pop(name).float()
    if f"{name}.scale" in tensors:
        value *= tensors.pop(f"{name}.scale").view(-1, *[1] * (dimensions - 1))
    return value.permute(2, 3, 1, 0) if dimensions == 4 else value.t()


def evaluate(args):
    images, labels, classes = load(args.test)
    found = logits(read(args.weights, len(classes)), images, False)
    predicted = found.argmax(1)
    right = int((predicted == labels).sum())
    print(f"{right} of {len(labels)} right: {100 * right / len(labels):.2f} %")
    print(f"expected calibration error {calibration_error(found.softmax(1), labels):.4f}\n")
    table = torch.zeros(len(classes), len(classes), dtype=torch.int64)
    table.index_put_((labels, predicted), torch.ones_like(labels), accumulate=True)
    print("| shown | right | taken for |\n|---|---|---|")
    for row, name in enumerate(classes):
        share = 100 * float(table[row, row]) / max(int(table[row].sum()), 1)
        order = table[row].argsort(descending=True)
        others = [f"{classes[c]} {table[row, c]}" for c in order if c != row and table[row, c] > 0]
        print(f"| {name} | {share:.1f} % | {', '.join(others)} |")
    if args.predictions:
        numpy.save(args.predictions, predicted.numpy().astype(numpy.uint8))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train, or go on from the checkpoint")
    command.add_argument("train", nargs="+")
    command.add_argument("--validate", required=True)
    command.add_argument("--start", help="weights to begin with (a file that this wrote)")
    command.add_argument("--checkpoint", required=True)
    command.add_argument("--out", required=True)
    command.add_argument("--minutes", type=float, default=60, help="processor time of each thread")
    command.add_argument("--freeze", type=int, default=0, help="stages that stay as in --start, with the stem")
    command.add_argument("--last-class", type=float, metavar="PART", help="part of each batch that is of the last class")
    command.add_argument("--find", type=float, metavar="PART", help="of the last class's validation pictures at least")
    command.add_argument("--smoothing", type=float, default=0.05, help="of the labels")
    command.add_argument("--small", type=float, default=0.35, metavar="PART", help="of the training on smaller pictures")
    command.add_argument("--bfloat16", action="store_true", help="for processors that multiply in it")
    command.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=train)
    command = commands.add_parser("evaluate", help="accuracy on a data set, by class")
    command.add_argument("weights")
    command.add_argument("test")
    command.add_argument("--predictions", help="file for the predicted classes (.npy)")
    command.set_defaults(run=evaluate)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.run(args)


if __name__ == "__main__":
    main()
