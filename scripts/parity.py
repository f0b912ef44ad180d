"""Compares full-size networks with the results of the libraries that define them, as a table.

usage: pip install torch torchvision timm transformers onnx onnxscript keras h5py
       cargo build --release && python scripts/parity.py [--only NAME,...] [--keep FOLDER] [--gpu]

Weights are random, with the running statistics of random images, so that logits are neither zero nor
infinite; the expected logits are computed by the library in 64 bits. `scale` is the largest of them,
`abs` the largest difference of a logit, and `rel` that over the scale. `own rel` is what the library
itself gives for its 32-bit arithmetic: what random weights of so many layers make of rounding. Load
is the time of `resnet inspect`, which reads every tensor; peak is the largest resident memory of that
process over the size of the file, less that of a process that reads nothing.
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

# Keras computes with it here; its files are the same with any.
os.environ.setdefault("KERAS_BACKEND", "torch")

import torch
from safetensors.torch import save_file

PROGRAM = pathlib.Path(__file__).parent.parent / "target" / os.environ.get("PROFILE", "release") / "resnet"
SIDE = 224


class Torch:
    """A network from torchvision, timm or transformers, and the format of its file."""

    def __init__(self, build, kind):
        self.build, self.kind = build, kind

    def make(self):
        self.model = self.build()
        for norm in self.model.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.momentum = None
        self.model.train()
        self.logits(torch.randn(4, 3, SIDE, SIDE))
        self.model.eval()

    def logits(self, images):
        with torch.no_grad():
            output = self.model(images)
        return getattr(output, "logits", output)

    def expected(self, images):
        """The logits computed in 32 and in 64 bits, with the weights as the file has them."""
        if self.kind.endswith("half"):
            self.model.half().float()
        single = self.logits(images)
        self.model.double()
        return single, self.logits(images.double())

    def write(self, folder):
        """Writes the weight file as users have it."""
        state = {name: value.contiguous() for name, value in self.model.state_dict().items()}
        half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
        if self.kind == "pth":
            torch.save(state, folder / "model.pth")
        elif self.kind == "legacy":
            torch.save(state, folder / "model.pth", _use_new_zipfile_serialization=False)
        elif self.kind == "half":
            torch.save(half, folder / "model.pth")
        elif self.kind.startswith("safetensors"):
            save_file(half if self.kind.endswith("half") else state, folder / "model.safetensors")
        elif self.kind == "timm":
            import timm

            timm.models.save_for_hf(self.model, str(folder), safe_serialization=True)
        elif self.kind == "hf":
            self.model.save_pretrained(folder)
        else:
            torch.onnx.export(
                self.model, (torch.zeros(1, 3, SIDE, SIDE),), str(folder / "model.onnx"), opset_version=18,
                dynamo=True, external_data=False, verbose=False,
            )
        endings = {".pth", ".safetensors", ".onnx"}
        return next(path for path in folder.iterdir() if path.stem == "model" and path.suffix in endings)

    def classifier(self, file):
        """The name of the layer that outputs the logits."""
        if self.kind == "onnx":
            import onnx

            graph = onnx.load(file).graph
            return next(node.name for node in graph.node if graph.output[0].name in node.output)
        # That of transformers has torchvision's names within the program.
        return "head.fc" if hasattr(self.model, "head") else "fc"


class Keras:
    """A network of keras.applications, and the ending of its file."""

    def __init__(self, name, ending):
        self.name, self.ending = name, ending

    def build(self):
        import keras

        return getattr(keras.applications, self.name)(weights=None, input_shape=(SIDE, SIDE, 3))

    def make(self):
        import keras

        keras.utils.set_random_seed(0)
        self.model = self.build()
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        with torch.no_grad():
            self.model(torch.randn(4, SIDE, SIDE, 3), training=True)

    def logits(self, images):
        import keras

        model = self.build()
        model.set_weights([keras.ops.convert_to_numpy(weight) for weight in self.model.weights])
        model.layers[-1].activation = keras.activations.linear
        with torch.no_grad():
            return model(images.permute(0, 2, 3, 1)).detach()

    def expected(self, images):
        import keras

        single = self.logits(images)
        keras.config.set_dtype_policy("float64")
        double = self.logits(images.double())
        keras.config.set_dtype_policy("float32")
        return single, double

    def write(self, folder):
        file = folder / f"model{self.ending}"
        # `.weights.h5` is a file of weights alone, the others hold the description too.
        save = self.model.save_weights if ".weights" in self.ending else self.model.save
        save(file)
        return file

    def classifier(self, _):
        return "predictions"


def torchvision_network(name):
    def build():
        import torchvision

        return getattr(torchvision.models, name)(weights=None)

    return build


def timm_network(name):
    def build():
        import timm

        return timm.create_model(name)

    return build


def hugging_face_network():
    import transformers

    return transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000))


NETWORKS = (
    {
        name: Torch(torchvision_network(name), "pth")
        for name in ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2"]
    }
    | {
        "resnet50 legacy .pth": Torch(torchvision_network("resnet50"), "legacy"),
        "resnet50 half .pth": Torch(torchvision_network("resnet50"), "half"),
        "resnet50 safetensors": Torch(torchvision_network("resnet50"), "safetensors"),
        "resnet50 f16 safetensors": Torch(torchvision_network("resnet50"), "safetensors-half"),
        "resnet50 onnx": Torch(torchvision_network("resnet50"), "onnx"),
        "timm resnet50d": Torch(timm_network("resnet50d"), "timm"),
        "timm resnetv2_50": Torch(timm_network("resnetv2_50"), "timm"),
        "timm ecaresnet50t": Torch(timm_network("ecaresnet50t"), "timm"),
        "timm skresnet50": Torch(timm_network("skresnet50"), "timm"),
        "timm resnest50d": Torch(timm_network("resnest50d"), "timm"),
        "timm res2net50_26w_4s": Torch(timm_network("res2net50_26w_4s"), "timm"),
        "timm resnet50_gn": Torch(timm_network("resnet50_gn"), "timm"),
        "timm resnetv2_50x1_bit": Torch(timm_network("resnetv2_50x1_bit"), "timm"),
        "timm resnet50d onnx": Torch(timm_network("resnet50d"), "onnx"),
        "hf resnet-50": Torch(hugging_face_network, "hf"),
    }
    | {
        f"keras {name} {ending}": Keras(name, ending)
        for name, endings in {
            "ResNet50": [".keras", ".weights.h5", ".h5"],
            "ResNet101": [".keras"],
            "ResNet152": [".keras"],
            "ResNet50V2": [".keras", ".weights.h5", ".h5"],
            "ResNet152V2": [".keras"],
        }.items()
        for ending in endings
    }
)


# A process starts with the peak of the one that it was forked from, which is large here.
LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss * 1024, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(*arguments):
    """Runs the program; returns exit code, stdout, stderr, seconds and peak memory in bytes."""
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, PROGRAM, *map(str, arguments)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    *lines, peak = done.stderr.splitlines()
    return done.returncode, done.stdout, "\n".join(lines), seconds, int(peak)


def compare(weights, golden, *flags):
    """The largest difference of a logit, the same relative to the largest logit, and whether the top five agree."""
    _, out, err, _, _ = run("compare", "--weights", weights, "--golden", golden, "--format", "json", *flags)
    if not out:
        sys.exit(f"{weights}: {err}")
    report = json.loads(out)["logits"]
    return report["max_abs"], report["max_rel"], report["top5_equal"]


def row(name, folder, paths, base):
    network = NETWORKS[name]
    torch.manual_seed(0)
    network.make()
    weights = network.write(folder)
    images = torch.randn(1, 3, SIDE, SIDE)
    single, double = network.expected(images)
    scale = double.abs().max().item()
    own = (single.double() - double).abs().max().item() / scale
    golden = folder / "golden.safetensors"
    save_file({"input": images, network.classifier(weights): double.float().cpu()}, golden)
    size = weights.stat().st_size
    cells = [name, f"{size / 1e6:.1f}", f"{scale:.3g}", f"{own:.1e}"]
    for _, flags in paths:
        difference, relative, same = compare(weights, golden, *flags)
        cells += [f"{difference:.1e}", f"{relative:.1e}", "equal" if same else "DIFFERENT"]
    _, _, _, seconds, peak = min((run("inspect", "--weights", weights) for _ in range(3)), key=lambda r: r[3])
    cells += [f"{seconds:.2f}", f"{max(peak - base, 0) / size:.2f}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--keep", type=pathlib.Path, help="folder to write the files to")
    parser.add_argument("--gpu", action="store_true", help="compare the GPU too")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else NETWORKS
    if unknown := [name for name in names if name not in NETWORKS]:
        sys.exit(f"no network '{unknown[0]}'; there are: {', '.join(NETWORKS)}")
    warnings.simplefilter("ignore")
    base = run("--version")[4]
    paths = [("cpu", ["--cpu"])] + ([("gpu", [])] if options.gpu else [])
    errors = " | ".join(f"{path} abs | {path} rel | {path} top 5" for path, _ in paths)
    print(f"| network | MB | scale | own rel | {errors} | load s | peak |")
    print("|---" * (6 + 3 * len(paths)) + "|")
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(options.keep or temporary) / name.replace(" ", "-")
            folder.mkdir(parents=True, exist_ok=True)
            row(name, folder, paths, base)


main()
