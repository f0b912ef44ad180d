"""Writes crates/formats/tests/data/onnx/: small ONNX networks, and what ONNX Runtime computes with them.

usage: pip install onnx onnxruntime numpy && python scripts/make_onnx_fixtures.py

Each network is a file of a few KiB with made-up weights. `expected.json` lists, for each, the batch,
the size of the image, what its output is and the output for the input that `numbers` gives with seed 1,
as NCHW; networks that take bytes get those that the numbers are made of. Those with a number for a name
are of `onnx_differential.py`.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
import onnx_differential
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).parent.parent / "crates" / "formats" / "tests" / "data" / "onnx"
CLASSES = 5
cases = []


def numbers(seed, count):
    """Numbers between -1 and 1 from a linear congruential generator, which the test has too."""
    state, out = seed, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out.append((state >> 16 & 255) / 127.5 - 1.0)
    return np.array(out, np.float32)


class Net:
    """A graph under construction; every method adds a node and returns the name of its result."""

    def __init__(self, opset, half=False):
        self.opset, self.half = opset, half
        self.nodes, self.initializers, self.seed = [], [], 2

    def weight(self, dims, scale=0.5, shift=0.0):
        self.seed += 1
        data = numbers(self.seed, int(np.prod(dims))).reshape(dims) * scale + shift
        return self.given(data.astype(np.float16 if self.half else np.float32))

    def given(self, array):
        name = f"t{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op, inputs, name="", **attributes):
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv(self, x, shape, bias=False, name="", **attributes):
        inputs = [x, self.weight(shape)]
        if bias:
            inputs.append(self.weight([shape[0]]))
        return self.node("Conv", inputs, name, **attributes)

    def norm(self, x, channels, epsilon=1e-5):
        params = [self.weight([channels], 0.5, 1.0), self.weight([channels]), self.weight([channels])]
        params.append(self.weight([channels], 0.5, 1.0))
        return self.node("BatchNormalization", [x, *params], epsilon=epsilon)

    def relu(self, x):
        return self.node("Relu", [x])

    def head(self, x, channels, name="fc"):
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        params = [self.weight([CLASSES, channels]), self.weight([CLASSES])]
        return self.node("Gemm", [x, *params], name, transB=1)

    def model(self, output, dims):
        kind = TensorProto.FLOAT16 if self.half else TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "small",
            [helper.make_tensor_value_info("image", kind, dims)],
            [helper.make_tensor_value_info(output, kind, ["n", CLASSES])],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="fixtures")


def save(name, net, output, dims=("n", 3, "h", "w"), size=(13, 10), batch=2, channels_last=False):
    model = net.model(output, dims)
    onnx.checker.check_model(model, full_check=True)
    bytes_ = model.SerializeToString()
    (FOLDER / f"{name}.onnx").write_bytes(bytes_)
    kinds = {"Softmax": "probabilities"}
    compare = kinds.get(model.graph.node[-1].op_type, "logits")
    expect(name, model, (batch, 3, *size), compare, output, channels_last, half=net.half)


def expect(name, model, shape, compare, output, channels_last, half=False, kind=np.float32, scaled=False):
    """Records what ONNX Runtime computes for a file."""
    x = numbers(1, int(np.prod(shape))).reshape(shape)
    x = np.rint((x + 1) * 127.5) if scaled else x
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1) if channels_last else x)
    path = str(FOLDER / f"{name}.onnx")
    # Its optimisations refuse some of the graphs.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = x[0] if len(session.get_inputs()[0].shape) == 3 else x
    y = session.run([output], {"image": x.astype(np.float16 if half else kind)})[0]
    assert np.abs(y).max() > 0.1, (name, y)
    rounded = [round(float(v), 6) for v in y.reshape(-1)]
    case = {"name": name, "batch": shape[0], "size": shape[2:], "half": half, "bytes": scaled}
    cases.append(case | {"compare": compare, "classes": y.size // shape[0], "output": rounded})


def bottleneck_v1_5():
    net = Net(17)
    x = net.relu(net.norm(net.conv("image", [4, 3, 7, 7], strides=[2, 2], pads=[3] * 4, name="stem"), 4))
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = net.relu(net.norm(net.conv(x, [4, 4, 1, 1]), 4))
    y = net.relu(net.norm(net.conv(y, [4, 2, 3, 3], strides=[2, 2], pads=[1] * 4, group=2), 4))
    y = net.norm(net.conv(y, [8, 4, 1, 1]), 8, epsilon=1e-3)
    x = net.norm(net.conv(x, [8, 4, 1, 1], strides=[2, 2]), 8)
    x = net.relu(net.node("Add", [y, x]))
    save("bottleneck-v1.5", net, net.head(x, 8), size=(37, 30))


def mxnet_v1():
    """1x1 convolutions with bias, stride in the first of them, Dropout, Softmax; opset 8."""
    net = Net(8)
    y = net.relu(net.norm(net.conv("image", [4, 3, 1, 1], bias=True, strides=[2, 2]), 4))
    y = net.relu(net.norm(net.conv(y, [4, 4, 3, 3], pads=[1] * 4), 4))
    y = net.norm(net.conv(y, [8, 4, 1, 1], bias=True), 8)
    x = net.norm(net.conv("image", [8, 3, 1, 1], strides=[2, 2]), 8)
    x = net.node("Dropout", [net.relu(net.node("Sum", [y, x]))])
    x = net.node("Softmax", [net.head(x, 8)])
    save("mxnet-v1", net, x, dims=[2, 3, 13, 10])


def mxnet_v2():
    """Batch norm of the input image, pre-activation blocks."""
    net = Net(7)
    x = net.conv(net.norm("image", 3), [4, 3, 3, 3], pads=[1] * 4)
    y = net.conv(net.relu(net.norm(x, 4)), [4, 4, 3, 3], pads=[1] * 4)
    x = net.relu(net.norm(net.node("Add", [y, x]), 4))
    save("mxnet-v2", net, net.head(x, 4))


def fused():
    """Batch norm folded by the exporter, no node names, view(x.size(0), -1) as operators, Constant."""
    net = Net(13)
    x = net.relu(net.conv("image", [4, 3, 3, 3], bias=True, pads=[1] * 4))
    x = net.node("Identity", [net.node("GlobalAveragePool", [x])])
    n = net.node("Gather", [net.node("Shape", [x]), net.given(np.int64(0))], axis=0)
    n = net.node("Unsqueeze", [n, net.given(np.array([0], np.int64))])
    rest = net.node("Constant", [], value_ints=[-1])
    x = net.node("Reshape", [x, net.node("Concat", [n, rest], axis=0)])
    x = net.node("Gemm", [x, net.weight([4, CLASSES]), net.weight([CLASSES])], transB=0)
    save("fused", net, x)


def same_upper():
    net = Net(15)
    x = net.conv("image", [4, 3, 7, 7], auto_pad="SAME_UPPER", strides=[2, 2])
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    x = net.conv(x, [4, 4, 2, 2], auto_pad="SAME_LOWER", bias=True)
    x = net.node("AveragePool", [x], kernel_shape=[3, 2], strides=[2, 1], auto_pad="SAME_UPPER")
    save("same-upper", net, net.head(x, 4), size=(30, 27))


def pads():
    """Explicit Pad before convolution and max pool, asymmetric pads."""
    net = Net(13)
    pads = net.given(np.array([0, 0, 3, 2, 0, 0, 3, 1], np.int64))
    x = net.conv(net.node("Pad", ["image", pads]), [4, 3, 5, 5], strides=[2, 2], pads=[0, 1, 1, 0])
    # Below zero, so that zeros of the padding win.
    x = net.node("Add", [x, net.given(np.full([4, 1, 1], -4.0, np.float32))])
    pads = net.given(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    zero = net.given(np.float32(0.0))
    x = net.node("MaxPool", [net.node("Pad", [x, pads, zero])], kernel_shape=[3, 3], strides=[2, 2])
    save("pad-max-pool", net, net.head(x, 4), size=(29, 26))


def ceil():
    net = Net(12)
    x = net.conv("image", [4, 3, 3, 3], bias=True)
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = net.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = net.node(
        "AveragePool", [x], kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4, count_include_pad=1
    )
    save("ceil-mode", net, net.head(x, 4), size=(18, 21))


def mat_mul():
    """tf2onnx: MatMul and Add, ReduceMean without rows and columns, Clip from zero."""
    net = Net(18)
    x = net.node("Clip", [net.conv("image", [4, 3, 3, 3]), net.given(np.float32(0.0))])
    axes = net.given(np.array([2, -1], np.int64))
    x = net.node("ReduceMean", [x, axes], keepdims=0)
    x = net.node("MatMul", [x, net.weight([4, CLASSES])], "dense")
    x = net.node("Softmax", [net.node("Add", [net.weight([CLASSES]), x])])
    save("mat-mul", net, x)


def squeeze():
    net = Net(11)
    x = net.node("ReduceMean", [net.conv("image", [4, 3, 3, 3])], axes=[-2, -1], keepdims=1)
    x = net.node("Squeeze", [x], axes=[2, 3])
    x = net.node("Gemm", [x, net.weight([CLASSES, 4])], transB=1)
    save("squeeze", net, x)


def channels_last():
    """NHWC in the file, and a Flatten with channels last."""
    net = Net(15)
    x = net.node("Transpose", ["image"], perm=[0, 3, 1, 2])
    x = net.conv(x, [4, 3, 3, 3], auto_pad="SAME_UPPER", strides=[2, 2])
    x = net.node("Transpose", [net.relu(x)], perm=[0, 2, 3, 1])
    x = net.node("Reshape", [x, net.given(np.array([-1, 120], np.int64))])
    x = net.node("MatMul", [x, net.weight([120, CLASSES], 0.1)])
    save("channels-last", net, x, dims=["n", 12, 9, 3], size=(12, 9), channels_last=True)


def caffe2():
    """An average pool over the whole image, Reshape for a fixed batch size."""
    net = Net(9)
    x = net.conv("image", [4, 3, 3, 3], pads=[1, 1, 1, 1])
    x = net.node("AveragePool", [x], kernel_shape=[9, 9])
    x = net.node("Reshape", [x, net.given(np.array([1, 4], np.int64))])
    x = net.node("Gemm", [x, net.weight([CLASSES, 4]), net.weight([1, CLASSES])], transB=1)
    save("caffe2", net, net.node("Softmax", [x]), dims=[1, 3, 9, 9], size=(9, 9), batch=1)


def half():
    net = Net(17, half=True)
    x = net.relu(net.conv("image", [4, 3, 3, 3], bias=True))
    save("half", net, net.head(x, 4))


def beside():
    """External data: weights in a separate file, as in large exports."""
    net = Net(18)
    x = net.head(net.relu(net.conv("image", [4, 3, 3, 3], bias=True)), 4)
    save("external", net, x)
    model = net.model(x, ("n", 3, "h", "w"))
    path = str(FOLDER / "external.onnx")
    # What is there already is added to.
    (FOLDER / "external.onnx.data").unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location="external.onnx.data", size_threshold=64)


def random_graph(seed):
    """A graph from the differential test."""
    net, model, compare, image, layout, kind = onnx_differential.make(seed)
    (FOLDER / f"{seed}.onnx").write_bytes(model.SerializeToString())
    bytes_, kind = image.max() > 1, np.uint8 if kind == 2 else np.float32
    expect(str(seed), model, image.shape, compare, net.outputs[0], layout == "NHWC", kind=kind, scaled=bool(bytes_))


FOLDER.mkdir(parents=True, exist_ok=True)
for make in [
    bottleneck_v1_5, mxnet_v1, mxnet_v2, fused, same_upper, pads, ceil, mat_mul, squeeze,
    channels_last, caffe2, half, beside,
]:
    make()
for seed in [559, 38, 170, 390, 245, 524, 212, 502, 11, 327]:
    random_graph(seed)
with open(FOLDER / "expected.json", "w", newline="\n") as file:
    json.dump({"onnxruntime": onnxruntime.__version__, "cases": cases}, file, separators=(",", ":"))
    file.write("\n")
