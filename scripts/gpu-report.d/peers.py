"""Other engines: each prints a line of JSON for each time that it takes."""

import array
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

# What is measured, and the limits in seconds.
PEERS = {"PyTorch": 120, "ncnn": 60}
BATCHES = [1, 8, 32]
# The exit code of an engine that the machine does not have.
ABSENT = 3


def measure(name):
    """Measures an engine in this process, on the adapter of this name if there are several."""
    wanted = os.environ.get("GPU_REPORT_ADAPTER", "")
    try:
        {"PyTorch": pytorch, "ncnn": ncnn}[name](wanted)
    except ImportError as error:
        leave(f"Python {platform.python_version()} cannot load it: {error}")


def leave(why):
    print(why, file=sys.stderr)
    sys.exit(ABSENT)


def print_times(engine, batch, clock, times):
    found = {"engine": engine, "batch": batch, "clock": clock, "runs": len(times)}
    print(json.dumps({**found, "median_ms": statistics.median(times), "min_ms": min(times)}), flush=True)


def print_about(text):
    print(json.dumps({"about": text}), flush=True)


def best_match(names, wanted):
    """The index of the adapter with this name, or of one that contains it; else the first."""
    for fits in (lambda name: name == wanted, lambda name: name in wanted or wanted in name):
        for index, name in enumerate(names):
            if wanted and fits(name):
                return index
    return 0


def pytorch(wanted):
    import torch
    import torchvision

    if not torch.cuda.is_available():
        leave(f"PyTorch {torch.__version__} finds no GPU")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    index = best_match(names, wanted)
    torch.cuda.set_device(index)
    runtime = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    print_about(f"PyTorch {torch.__version__}, {runtime}, cuDNN {torch.backends.cudnn.version()}, {names[index]}")

    def times(run):
        found, end = [], time.monotonic() + 3
        while len(found) < 100 and (len(found) < 5 or time.monotonic() < end):
            begin, done = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            run()
            done.record()
            torch.cuda.synchronize()
            found.append(begin.elapsed_time(done))
        return found

    def graph_of(run):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph

    torch.backends.cudnn.benchmark = True
    for name, dtype, tf32, layout in [
        ("f32", torch.float32, False, torch.contiguous_format),
        ("TF32", torch.float32, True, torch.channels_last),
        ("f16", torch.float16, False, torch.channels_last),
    ]:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        network = folded(torchvision.models.resnet50(weights=None).eval())
        network = network.cuda().to(dtype).to(memory_format=layout)
        for batch in BATCHES:
            images = torch.randn(batch, 3, 224, 224, device="cuda", dtype=dtype).to(memory_format=layout)
            with torch.inference_mode():
                for _ in range(5):
                    network(images)
                print_times(f"PyTorch {name}", batch, "GPU", times(lambda: network(images)))
                graph = graph_of(lambda: network(images))
                print_times(f"PyTorch {name} with CUDA graphs", batch, "GPU", times(graph.replay))


def folded(network):
    """Its batch norms folded into the convolutions before them, as every engine for inference does."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")]
    for module in network.modules():
        parts = module._modules
        for conv, norm in pairs:
            if isinstance(parts.get(norm), nn.BatchNorm2d):
                parts[conv] = fuse_conv_bn_eval(parts[conv], parts[norm])
                parts[norm] = nn.Identity()
    return network


def ncnn(wanted):
    import ncnn

    names = [ncnn.get_gpu_info(index).device_name() for index in range(ncnn.get_gpu_count())]
    if not names:
        leave(f"ncnn {ncnn.__version__} finds no Vulkan device")
    index = best_match(names, wanted)
    print_about(f"ncnn {ncnn.__version__}, {names[index]}")
    text, sizes = ncnn_network()
    # Of sizes that neither grow nor vanish over fifty layers; zeros would take less power.
    numbers = random.Random(0)
    block = array.array("f", (numbers.gauss(0, 0.03) for _ in range(1 << 16))).tobytes()
    image = ncnn.Mat(224, 224, 3)
    image.fill(0.5)
    with tempfile.TemporaryDirectory() as folder:
        parameters, weights = Path(folder, "resnet50.param"), Path(folder, "resnet50.bin")
        parameters.write_text(text)
        with weights.open("wb") as file:
            for part in sizes:
                # Each convolution's weights begin with a tag: 0 for 32-bit floats.
                file.write(bytes(4) if part is None else (block * (part // len(block) + 1))[:part])
        for half in (False, True):
            network = ncnn.Net()
            network.opt.use_vulkan_compute = True
            network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = half
            network.opt.use_bf16_storage = False
            network.set_vulkan_device(index)
            if network.load_param(str(parameters)) != 0 or network.load_model(str(weights)) != 0:
                sys.exit("ncnn does not read its network")
            found, end = [], time.monotonic() + 8
            while len(found) < 60 and (len(found) < 5 or time.monotonic() < end):
                begin = time.perf_counter()
                extractor = network.create_extractor()
                extractor.input("image", image)
                failed, _ = extractor.extract("out")
                if failed != 0:
                    sys.exit("ncnn does not run its network")
                found.append((time.perf_counter() - begin) * 1e3)
            # The first ones compile and allocate.
            kept = found[min(10, len(found) // 2) :]
            print_times(f"ncnn {'f16' if half else 'f32'}", 1, "host", kept)


def ncnn_network():
    """The lines of ResNet-50 in ncnn's format, batch norm folded, and its weights: bytes of each, None for a tag."""
    lines, sizes, blobs = [], [], 0

    def layer(kind, inputs, outputs, parameters=""):
        nonlocal blobs
        blobs += len(outputs)
        names = [f"l{len(lines)}", str(len(inputs)), str(len(outputs)), *inputs, *outputs]
        lines.append(" ".join([kind, *names, parameters]))

    def conv(x, y, c_in, c_out, k, stride=1, relu=1):
        weights = c_in * c_out * k * k
        sizes.extend([None, 4 * weights, 4 * c_out])
        layer("Convolution", [x], [y], f"0={c_out} 1={k} 3={stride} 4={k // 2} 5=1 6={weights} 9={relu}")

    layer("Input", [], ["image"])
    conv("image", "stem", 3, 64, 7, 2)
    layer("Pooling", ["stem"], ["x"], "0=0 1=3 2=2 3=1 5=1")
    x, channels, n = "x", 64, 0
    for stage, blocks in enumerate([3, 4, 6, 3]):
        width = 64 << stage
        for block in range(blocks):
            n += 1
            stride = 2 if stage and not block else 1
            layer("Split", [x], [f"a{n}", f"b{n}"])
            conv(f"a{n}", f"c{n}", channels, width, 1)
            conv(f"c{n}", f"d{n}", width, width, 3, stride)
            conv(f"d{n}", f"e{n}", width, 4 * width, 1, relu=0)
            shortcut = f"b{n}"
            if not block:
                shortcut = f"s{n}"
                conv(f"b{n}", shortcut, channels, 4 * width, 1, stride, relu=0)
            layer("BinaryOp", [f"e{n}", shortcut], [f"f{n}"], "0=0")
            layer("ReLU", [f"f{n}"], [f"x{n}"])
            x, channels = f"x{n}", 4 * width
    layer("Pooling", [x], ["pool"], "0=1 4=1")
    sizes.extend([None, 4 * 2048 * 1000, 4 * 1000])
    layer("InnerProduct", ["pool"], ["logits"], f"0=1000 1=1 2={2048 * 1000}")
    layer("Softmax", ["logits"], ["out"])
    return f"7767517\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n", sizes
