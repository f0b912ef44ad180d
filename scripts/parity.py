"""Full-size networks of other libraries against the numbers that those compute: a table.

usage: pip install torch torchvision timm transformers onnx onnxscript
       cargo build --release && python scripts/parity.py [--only NAME,...] [--keep FOLDER] [--gpu]

Weights are random, with the running statistics of random images, so that logits are neither zero nor
infinite; the expected logits are computed by the library in 64 bits. `max abs` is the largest
difference of a logit, `scale` the largest logit. Load is the time of `resnet inspect`, which reads
every tensor; peak is the largest resident memory of that process over the size of the file, less that
of a process that reads nothing.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file

PROGRAM = pathlib.Path(__file__).parent.parent / "target" / os.environ.get("PROFILE", "release") / "resnet"


def torchvision_network(name):
    return lambda: getattr(torchvision.models, name)(weights=None)


NETWORKS = {
    name: (torchvision_network(name), "pth")
    for name in ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2"]
} | {
    "resnet50 legacy .pth": (torchvision_network("resnet50"), "legacy"),
    "resnet50 half .pth": (torchvision_network("resnet50"), "half"),
    "resnet50 safetensors": (torchvision_network("resnet50"), "safetensors"),
    "resnet50 f16 safetensors": (torchvision_network("resnet50"), "safetensors-half"),
    "resnet50 onnx": (torchvision_network("resnet50"), "onnx"),
    "timm resnet50d": (lambda: timm.create_model("resnet50d"), "timm"),
    "timm resnetv2_50": (lambda: timm.create_model("resnetv2_50"), "timm"),
    "timm resnet50d onnx": (lambda: timm.create_model("resnet50d"), "onnx"),
    "hf resnet-50": (lambda: transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000)), "hf"),
}


def logits(model, images):
    output = model(images)
    return getattr(output, "logits", output)


def make(build):
    torch.manual_seed(0)
    model = build()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        model.train()
        logits(model, torch.randn(4, 3, 224, 224))
    return model.eval()


def write(model, kind, folder):
    """The file of the weights, as users have it."""
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    if kind == "pth":
        torch.save(state, folder / "model.pth")
    elif kind == "legacy":
        torch.save(state, folder / "model.pth", _use_new_zipfile_serialization=False)
    elif kind == "half":
        torch.save(half, folder / "model.pth")
    elif kind.startswith("safetensors"):
        save_file(half if kind.endswith("half") else state, folder / "model.safetensors")
    elif kind == "timm":
        timm.models.save_for_hf(model, str(folder), safe_serialization=True)
    elif kind == "hf":
        model.save_pretrained(folder)
    else:
        torch.onnx.export(
            model, (torch.zeros(1, 3, 224, 224),), str(folder / "model.onnx"), opset_version=18, dynamo=True,
            external_data=False, verbose=False,
        )
    endings = {".pth", ".safetensors", ".onnx"}
    return next(path for path in folder.iterdir() if path.stem == "model" and path.suffix in endings)


def load(model, kind):
    """The model with the numbers that its file has."""
    return model.half().float() if kind.endswith("half") else model


# A process starts with the peak of the one that it was forked from, which is large here.
LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss * 1024, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(*arguments):
    """Exit code, stdout, stderr, seconds and peak bytes of the program."""
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, PROGRAM, *map(str, arguments)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    *lines, peak = done.stderr.splitlines()
    return done.returncode, done.stdout, "\n".join(lines), seconds, int(peak)


def compare(weights, golden, *flags):
    code, out, err, _, _ = run("compare", "--weights", weights, "--golden", golden, "--format", "json", *flags)
    if not out:
        sys.exit(f"{weights}: {err}")
    report = json.loads(out)["logits"]
    return report["max_abs"], report["top5_equal"], code


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--keep", type=pathlib.Path, help="folder to write the files to")
    parser.add_argument("--gpu", action="store_true", help="compare the GPU too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    base = run("--version")[4]
    paths = [("cpu", ["--cpu"])] + ([("gpu", [])] if options.gpu else [])
    print("| network | MB | scale | " + " | ".join(f"{p} max abs | {p} top 5" for p, _ in paths) + " | load s | peak |")
    print("|---" * (5 + 2 * len(paths)) + "|")
    for name, (build, kind) in NETWORKS.items():
        if options.only and name not in options.only.split(","):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(options.keep or temporary) / name.replace(" ", "-")
            folder.mkdir(parents=True, exist_ok=True)
            model = make(build)
            weights = write(model, kind, folder)
            images = torch.randn(1, 3, 224, 224)
            with torch.no_grad():
                expected = logits(load(model, kind).double(), images.double()).float()
            classifier = "head.fc" if "v2" in name else "fc"
            if kind == "onnx":
                import onnx

                graph = onnx.load(weights).graph
                classifier = next(n.name for n in graph.node if graph.output[0].name in n.output)
            golden = folder / "golden.safetensors"
            save_file({"input": images, classifier: expected}, golden)
            cells = [name, f"{weights.stat().st_size / 1e6:.1f}", f"{expected.abs().max():.3g}"]
            for _, flags in paths:
                difference, same, code = compare(weights, golden, *flags)
                cells += [f"{difference:.1e}", "equal" if same else "DIFFERENT"]
            _, _, _, seconds, peak = min((run("inspect", "--weights", weights) for _ in range(3)), key=lambda r: r[3])
            cells += [f"{seconds:.2f}", f"{max(peak - base, 0) / weights.stat().st_size:.2f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


main()
