#!/usr/bin/env python3
"""Runs random ResNet-like ONNX graphs, in the style of many exporters, by ONNX Runtime and by this crate.

usage: pip install onnx onnxruntime numpy
       cargo build -p resnet-formats --example onnx_run
       python scripts/onnx_differential.py [--count N] [--seed S] [--program PATH] [--keep FOLDER]

Each graph depends on its seed only. Both must give the same numbers, or this crate must refuse the
file; a graph of which they differ is kept. Prints the sums and the reasons of refusals, and fails if
any number is wrong.
"""

import argparse
import collections
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)
TYPES = {np.dtype(np.float32): 1, np.dtype(np.float16): 10, np.dtype(np.float64): 11, np.dtype(np.int64): 7, np.dtype(np.uint8): 2}


class Net:
    """A graph under construction. Values are names; images carry their channels, rows and columns."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.opset = self.rng.choice([7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25])
        self.nodes, self.initializers, self.functions, self.external = [], [], {}, False
        self.count, self.odd = 0, []
        self.large = self.rng.random() < 0.05

    def chance(self, probability):
        return self.rng.random() < probability

    def pick(self, *choices):
        return self.rng.choice(choices)

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def node(self, op, inputs, outputs=1, domain="", **attributes):
        names = [self.name() for _ in range(outputs)]
        label = "" if self.chance(0.2) else f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, names, name=label, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def given(self, array):
        """A constant in one of many forms."""
        array = np.asarray(array)
        how = self.rng.random()
        if array.dtype == np.float32 and how < 0.05:
            return self.node("Cast", [self.given_as_is(array.astype(np.float64))], to=1)
        if how < 0.15:
            return self.node("Identity", [self.given_as_is(array)])
        if array.ndim > 1 and how < 0.2:
            perm = self.rng.sample(range(array.ndim), array.ndim)
            return self.node("Transpose", [self.given_as_is(array.transpose(np.argsort(perm)))], perm=perm)
        if array.ndim and how < 0.25:
            return self.node("Reshape", [self.given_as_is(array.reshape(-1)), self.given_as_is(np.array(array.shape, np.int64))])
        return self.given_as_is(array)

    def given_as_is(self, array):
        name = self.name()
        kind = TYPES[array.dtype]
        if self.chance(0.25):
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
            return name
        if self.chance(0.3) and kind in (1, 7, 11) and array.size:
            tensor = helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist())
        else:
            tensor = numpy_helper.from_array(array.copy(order="C"), name)
        self.initializers.append(tensor)
        return name

    def ints(self, *numbers):
        return self.given(np.array(numbers, np.int64))

    def weight(self, *dims, scale=None, shift=0.0):
        if scale is None:
            scale = (2.0 / max(1, int(np.prod(dims[1:])))) ** 0.5
        return (self.numbers.standard_normal(dims) * scale + shift).astype(np.float32)

    # --- spellings of single steps

    def noise(self, x):
        """A node that changes nothing."""
        if self.chance(0.85):
            return x
        how = self.pick("Identity", "Dropout", "Cast", "Mul1", "Add0", "If", "Transpose")
        if how == "Dropout":
            return self.node("Dropout", [x])
        if how == "Cast":
            return self.node("Cast", [x], to=1)
        if how == "Mul1":
            return self.node("Mul", [x, self.given(np.float32(1))])
        if how == "Add0":
            return self.node("Add", [self.given(np.zeros(1, np.float32)), x])
        if how == "If":
            branches = []
            for op in ("Identity", "Neg"):
                out = self.name()
                node = helper.make_node(op, [x], [out])
                branches.append(helper.make_graph([node], op, [], [helper.make_tensor_value_info(out, 1, None)]))
            return self.node("If", [self.given_as_is_bool(True)], then_branch=branches[0], else_branch=branches[1])
        return self.node("Identity", [x])

    def given_as_is_bool(self, value):
        name = self.name()
        self.initializers.append(helper.make_tensor(name, TensorProto.BOOL, [], [value]))
        return name

    def axes(self, op, x, axes, since, **attributes):
        """`axes` as an attribute (old opsets) or as an input (new ones)."""
        if self.opset < since:
            return self.node(op, [x], axes=list(axes), **attributes)
        return self.node(op, [x, self.ints(*axes)], **attributes)

    def relu(self, x):
        how = self.rng.random()
        if how < 0.7:
            return self.node("Relu", [x])
        if how < 0.85 and self.opset >= 8:
            return self.node("Max", self.rng.sample([x, self.given(np.float32(0))], 2))
        if self.opset >= 11:
            return self.node("Clip", [x, self.given_as_is(np.zeros((), np.float32))])
        return self.node("Clip", [x], min=0.0)

    def affine(self, x, scale, shift, shape):
        """`scale · x + shift` per channel, by sums and products."""
        scale, shift = scale.reshape(shape), shift.reshape(shape)
        how = self.rng.randrange(4)
        if how == 0:
            x = self.node("Mul", self.rng.sample([x, self.given(scale)], 2))
            return self.node("Add", self.rng.sample([x, self.given(shift)], 2))
        if how == 1:
            x = self.node("Div", [x, self.given((1 / scale).astype(np.float32))])
            return self.node("Sub", [x, self.given(-shift)])
        if how == 2:
            x = self.node("Sub", [x, self.given((-shift / scale).astype(np.float32))])
            return self.node("Mul", [x, self.given(scale)])
        x = self.node("Sub", [self.given((-shift).astype(np.float32)), self.node("Mul", [x, self.given(scale)])])
        return self.node("Mul", [x, self.given(np.float32(-1))])

    def norm(self, x, c):
        gamma, beta = self.weight(c, scale=0.3, shift=1.0), self.weight(c, scale=0.2)
        mean, var = self.weight(c, scale=0.2), np.abs(self.weight(c, scale=0.3, shift=1.0)) + 0.1
        eps = self.pick(1e-5, 1e-3, 1.001e-5)
        if self.chance(0.12):
            return self.group_norm(x, c, gamma, beta, eps)
        how = self.rng.random()
        if how < 0.6:
            attributes = {"epsilon": eps} if eps != 1e-5 or self.chance(0.5) else {}
            if self.opset >= 14 and self.chance(0.3):
                attributes["training_mode"] = 0
            return self.node("BatchNormalization", [x, *map(self.given, (gamma, beta, mean, var))], **attributes)
        scale = (gamma / np.sqrt(var + eps)).astype(np.float32)
        shift = (beta - mean * scale).astype(np.float32)
        shape = self.pick((c, 1, 1), (1, c, 1, 1))
        if how < 0.8:
            return self.affine(x, scale, shift, shape)
        # In parts that are still to be computed.
        root = self.node("Sqrt", [self.node("Add", [self.given(var.reshape(shape)), self.given(np.float32(eps))])])
        if self.chance(0.5):
            factor = self.node("Div", [self.given(gamma.reshape(shape)), root])
        else:
            factor = self.node("Mul", [self.node("Reciprocal", [root]), self.given(gamma.reshape(shape))])
        x = self.node("Mul", [self.node("Sub", [x, self.given(mean.reshape(shape))]), factor])
        return self.node("Add", [x, self.given(beta.reshape(shape))])

    def group_norm(self, x, c, gamma, beta, eps):
        """In groups: the operator, what exporters wrote before there was one, or each channel by itself."""
        groups = self.pick(*[g for g in (1, 2, 3, c) if c % g == 0])
        if self.opset >= 21 and self.chance(0.5):
            inputs = [x, self.given(gamma), self.given(beta)]
            return self.node("GroupNormalization", inputs, num_groups=groups, epsilon=eps)
        if 18 <= self.opset < 21 and self.chance(0.4):
            inputs = [x, self.given(gamma[:groups]), self.given(beta[:groups])]
            return self.node("GroupNormalization", inputs, num_groups=groups, epsilon=eps)
        if self.chance(0.3):
            return self.node("InstanceNormalization", [x, self.given(gamma), self.given(beta)], epsilon=eps)
        y = self.node("Reshape", [x, self.ints(0, groups, -1)])
        ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
        if self.chance(0.2):
            ones, zeros = self.weight(groups, scale=0.3, shift=1.0), self.weight(groups, scale=0.3)
        y = self.node("InstanceNormalization", [y, self.given(ones), self.given(zeros)], epsilon=eps)
        y = self.node("Reshape", [y, self.node("Shape", [x])])
        return self.affine(y, gamma, beta, (c, 1, 1)) if self.chance(0.8) else y

    def pad(self, x, pads, value=None, mode=None):
        attributes = {"mode": mode} if mode else {}
        if self.opset < 11:
            return self.node("Pad", [x], pads=list(pads), **attributes, **({"value": value} if value is not None else {}))
        inputs = [x, self.ints(*pads)]
        if value is not None:
            inputs.append(self.given_as_is(np.array(value, np.float32)))
        elif self.opset >= 18 and self.chance(0.2) and len(pads) == 8 and not any(pads[i] for i in (0, 1, 4, 5)):
            return self.node("Pad", [x, self.ints(pads[2], pads[3], pads[6], pads[7]), "", self.ints(2, 3)], **attributes)
        return self.node("Pad", inputs, **attributes)

    def conv(self, x, c, out, k, stride=1, groups=1, bias=None):
        x = self.noise(x)
        w = self.weight(out, c // groups, k, k)
        attributes = {"strides": [stride, stride]}
        if self.chance(0.5):
            attributes.update(kernel_shape=[k, k], group=groups)
        elif groups != 1:
            attributes["group"] = groups
        d = 2 if k > 1 and self.chance(0.1) else 1
        if d > 1 or self.chance(0.5):
            attributes["dilations"] = [d, d]
        p = d * (k // 2)
        how = self.rng.random()
        if how < 0.15 and d == 1:
            attributes["auto_pad"] = self.pick("SAME_UPPER", "SAME_LOWER")
        elif how < 0.25 and p:
            x = self.pad(x, [0, 0, p, p, 0, 0, p, p])
        elif how < 0.35:
            attributes["pads"] = [self.rng.randrange(p + 1) for _ in range(2)] + [p, p]
        else:
            attributes["pads"] = [p] * 4
        if self.large:
            self.external = True
        bias = self.chance(0.5) if bias is None else bias
        if bias and self.chance(0.6):
            y = self.node("Conv", [x, self.given(w), self.given(self.weight(out, scale=0.2))], **attributes)
        else:
            y = self.node("Conv", [x, self.given(w)], **attributes)
            if bias:
                shape = self.pick((out, 1, 1), (1, out, 1, 1))
                y = self.node("Add", self.rng.sample([y, self.given(self.weight(out, scale=0.2).reshape(shape))], 2))
        return self.noise(y)

    def fused_conv(self, x, c, out, k, residual=None):
        inputs = [x, self.given(self.weight(out, c, k, k)), self.given(self.weight(out, scale=0.2))]
        if residual:
            inputs.append(residual)
        attributes = {"activation": "Relu"} if self.chance(0.7) else {}
        return self.node("FusedConv", inputs, domain="com.microsoft", pads=[k // 2] * 4, strides=[1, 1], kernel_shape=[k, k], **attributes)

    def pool(self, x):
        k = self.pick(2, 3)
        how = self.rng.randrange(6)
        ceil = {"ceil_mode": 1} if self.opset >= 10 and self.chance(0.3) else {}
        if how == 0:
            return self.node("MaxPool", [x], kernel_shape=[k, k], strides=[2, 2], pads=[k // 2] * 4, **ceil)
        if how == 1:
            value = self.pick(None, 0.0, -np.inf, -3.4028234663852886e38)
            x = self.pad(x, [0, 0, 1, 1, 0, 0, 1, 1], value)
            return self.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], **ceil)
        if how == 2:
            return self.node("MaxPool", [x], kernel_shape=[k, k], strides=[2, 2], auto_pad=self.pick("SAME_UPPER", "SAME_LOWER", "VALID"))
        if how == 3:
            include = {"count_include_pad": 1} if self.chance(0.5) else {}
            return self.node("AveragePool", [x], kernel_shape=[k, k], strides=[2, 2], pads=[k // 2] * 4, **include, **ceil)
        if how == 4:
            return self.node("AveragePool", [x], kernel_shape=[k, k], strides=[2, 2], **ceil)
        return x

    def blur(self, x, c):
        row = np.array([0.25, 0.5, 0.25], np.float32)
        w = np.tile(np.outer(row, row)[None, None], (c, 1, 1, 1))
        x = self.pad(x, [0, 0, 1, 1, 0, 0, 1, 1], mode="reflect")
        return self.node("Conv", [x, self.given(w)], group=c, strides=[2, 2], kernel_shape=[3, 3])

    def gate(self, x, c):
        s = self.mean(x, keep=True)
        s = self.node("Relu", [self.conv(s, c, 2, 1, bias=True)])
        s = self.node("Sigmoid", [self.conv(s, 2, c, 1, bias=True)])
        return self.node("Mul", self.rng.sample([x, s], 2))

    def channel_gate(self, x, c):
        """Efficient channel attention."""
        k = self.pick(1, 3, 5)
        s = self.axes("ReduceMean", x, (2, 3), 18, keepdims=0)
        s = self.node("Reshape", [s, self.ints(0, 1, -1)] if self.chance(0.5) else [s, self.ints(-1, 1, c)])
        attributes = {"pads": [k // 2] * 2} if self.chance(0.8) else {"auto_pad": "SAME_UPPER"}
        s = self.node("Conv", [s, self.given(self.weight(1, 1, k, scale=1.0))], kernel_shape=[k], **attributes)
        s = self.node("Reshape", [self.node("Sigmoid", [s]), self.ints(-1, c, 1, 1)])
        if self.chance(0.6):
            s = self.node("Expand", [s, self.node("Shape", [x])])
        return self.node("Mul", self.rng.sample([x, s], 2))

    def option_a(self, x, c, out):
        """The shortcut without weights (option A): every other pixel, and channels of zeros."""
        big = self.pick(2**31 - 1, 2**63 - 1, 1000)
        if self.opset < 10:
            x = self.node("MaxPool", [x], kernel_shape=[1, 1], strides=[2, 2])
        else:
            x = self.node("Slice", [x, self.ints(0, 0), self.ints(big, big), self.ints(2, 3), self.ints(2, 2)])
        before = (out - c) // 2
        return self.pad(x, [0, before, 0, 0, 0, out - c - before, 0, 0]) if out > c else x

    def block(self, x, c):
        out, stride = self.pick((c, 1), (c, 2), (c + 2, 1), (2 * c, 2))
        bottle = self.chance(0.5)
        if self.chance(0.08):
            out, stride = c, 1
            y = self.fused_conv(x, c, c, 3)
            return self.fused_conv(y, c, out, 3, residual=x if self.chance(0.5) else None), out
        y = x
        if self.chance(0.2):
            y = self.relu(self.norm(y, c))
        mid = max(2, c // 2) if bottle else out
        if bottle:
            y = self.relu(self.norm(self.conv(y, c, mid, 1), mid))
        y = self.strict(lambda: self.conv(y, mid if bottle else c, mid, 3, groups=2 if mid % 2 == 0 and (mid if bottle else c) % 2 == 0 and self.chance(0.2) else 1, stride=stride))
        y = self.relu(self.norm(y, mid)) if self.chance(0.8) else self.relu(y)
        y = self.conv(y, mid, out, 1)
        if self.chance(0.7):
            y = self.norm(y, out)
        if self.chance(0.15):
            y = self.gate(y, out) if self.opset < 8 or self.chance(0.5) else self.channel_gate(y, out)
        if (out, stride) != (c, 1):
            if stride == 2 and self.chance(0.2):
                x = self.option_a(x, c, out)
            elif stride == 2 and self.chance(0.2):
                x = self.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], **({"ceil_mode": 1} if self.opset >= 10 else {"auto_pad": "SAME_UPPER"}))
                x = self.conv(x, c, out, 1)
            else:
                x = self.conv(x, c, out, 1, stride=stride)
                if self.chance(0.7):
                    x = self.norm(x, out)
        op = "Sum" if self.chance(0.1) and self.opset >= 8 else "Add"
        return self.relu(self.node(op, self.rng.sample([x, y], 2))), out

    def strict(self, make):
        """A convolution whose output size is exactly the input size over the stride: both branches must agree."""
        while True:
            kept = len(self.nodes), len(self.initializers), self.count
            y = make()
            conv = next(n for n in reversed(self.nodes) if n.op_type == "Conv")
            stated = {a.name: list(a.ints) for a in conv.attribute}
            if stated.get("pads", [1] * 4) == stated.get("dilations", [1, 1]) * 2:
                return y
            del self.nodes[kept[0]:], self.initializers[kept[1]:]

    # --- the end

    def mean(self, x, keep=False):
        how = self.rng.randrange(7)
        if self.chance(0.08):
            return self.node("GlobalMaxPool", [x]) if keep or how < 4 else self.axes("ReduceMax", x, (2, 3), 18, keepdims=self.pick(0, 1))
        if how <= 1 or keep and how > 3:
            return self.node("GlobalAveragePool", [x])
        if how == 2:
            return self.axes("ReduceMean", x, self.pick((2, 3), (-2, -1), (3, 2)), 18, keepdims=1)
        if how == 3:
            x = self.axes("ReduceMean", x, (3,), 18, keepdims=1)
            return self.axes("ReduceMean", x, (2,), 18)
        if how == 4:
            return self.axes("ReduceMean", x, (2, -1), 18, keepdims=0)
        if how == 5:
            x = self.axes("ReduceMean", x, (-1,), 18, keepdims=0)
            return self.axes("ReduceMean", x, (2,), 18, keepdims=0)
        x = self.node("Reshape", [x, self.ints(0, 0, -1)])
        return self.axes("ReduceMean", x, (2,), 18, keepdims=self.pick(0, 1))

    def flatten(self, x, c):
        """Flattens each image to a vector, whatever axes of size 1 remain."""
        how = self.rng.randrange(9)
        if how <= 1:
            return self.node("Flatten", [x], axis=1)
        if how == 2:
            return self.node("Flatten", [x])
        if how == 3:
            return self.node("Reshape", [x, self.ints(-1, c)])
        if how == 4:
            return self.node("Reshape", [x, self.ints(0, -1)])
        if how <= 6:
            shape = self.node("Shape", [x])
            if self.chance(0.4):
                shape = self.node("Cast", [shape], to=7)
            if how == 5 or self.opset < 10:
                n = self.node("Gather", [shape, self.given(np.int64(0))], axis=0)
                n = self.axes("Unsqueeze", n, (0,), 13)
            else:
                n = self.node("Slice", [shape, self.ints(0), self.ints(1), self.ints(0)])
            rest = self.pick(self.ints(-1), self.ints(c))
            return self.node("Reshape", [x, self.node("Concat", [n, rest], axis=0)])
        if how == 7:
            x = self.node("Transpose", [self.node("Reshape", [x, self.ints(0, c, 1, 1)])], perm=[0, 2, 3, 1])
            return self.node("Reshape", [x, self.ints(-1, c)])
        x = self.node("Reshape", [x, self.ints(0, c, 1, 1)])
        return self.axes("Squeeze", x, self.pick((2, 3), (-1, -2)), 13)

    def classifier(self, x, c, classes):
        w, b = self.weight(classes, c), self.weight(classes, scale=0.3)
        how = self.rng.randrange(7)
        if how <= 1:
            return self.node("Gemm", [x, self.given(w), self.given(b)], transB=1)
        if how == 2:
            b = self.pick(b, b.reshape(1, -1), b[:1], np.float32(0.3))
            return self.node("Gemm", [x, self.given(w.T.copy()), self.given(b)], alpha=self.pick(1.0, 0.5, 2.0), beta=self.pick(1.0, 0.25, 0.0), transA=0)
        if how == 3:
            x = self.node("Transpose", [x], perm=[1, 0])
            return self.node("Gemm", [x, self.given(w), self.given(b)], transA=1, transB=1)
        if how == 4:
            x = self.node("Reshape", [x, self.ints(0, c, 1, 1)])
            x = self.node("Conv", [x, self.given(w.reshape(classes, c, 1, 1)), self.given(b)])
            return self.node("Flatten", [x])
        y = self.node("MatMul", [x, self.given(w.T.copy())])
        if how == 5:
            y = self.node("Add", self.rng.sample([y, self.given(b)], 2))
        if self.chance(0.3):
            y = self.affine(y, self.weight(classes, scale=0.1, shift=1.0), self.weight(classes, scale=0.1), (classes,))
        return y

    # --- what must be refused, or right

    def oddity(self, x, c):
        """Something that does not occur in ResNets."""
        kind = self.rng.choice([
            "LeakyRelu", "Swap", "Mirror", "Square", "Channels", "Shuffle", "Pixels", "Row", "Softmax", "Tanh",
            "Crop", "MeanC", "Relu6", "Dilated", "Bias", "Wide", "Group", "InstanceNorm", "Train", "Roll",
            "MinusInf", "Edge", "PadRelu", "GlobalMax", "Silu", "Sub", "Up", "Half", "Order", "Last",
        ])
        self.odd.append(kind)
        n = self.node
        if kind == "LeakyRelu": return n("LeakyRelu", [x], alpha=0.1)
        if kind == "Swap": return n("Transpose", [x], perm=[0, 1, 3, 2])
        if kind == "Mirror": return n("Slice", [x, self.ints(-1), self.ints(-2**62), self.ints(3), self.ints(-1)]) if self.opset >= 10 else x
        if kind == "Square": return n("Mul", [x, x])
        if kind == "Channels": return n("Gather", [x, self.ints(*self.rng.sample(range(c), c))], axis=1)
        if kind == "Shuffle" and c % 2 == 0:
            y = n("Reshape", [x, self.ints(0, 2, c // 2, -1)])
            return n("Reshape", [n("Transpose", [y], perm=[0, 2, 1, 3]), n("Shape", [x])])
        if kind == "Pixels": return n("Reshape", [n("Reshape", [x, self.ints(0, c, -1)]), n("Shape", [x])])
        if kind == "Row": return n("Add", [x, n("Slice", [x, self.ints(0), self.ints(1), self.ints(2)])]) if self.opset >= 10 else x
        if kind == "Softmax": return n("Softmax", [x], axis=1)
        if kind == "Tanh": return n("Tanh", [x])
        if kind == "Crop": return n("Slice", [x, self.ints(1, 0), self.ints(1000, -1), self.ints(2, 3)]) if self.opset >= 10 else x
        if kind == "MeanC": return n("Mul", [x, n("Sigmoid", [self.axes("ReduceMean", x, (1,), 18, keepdims=1)])])
        if kind == "Relu6": return n("Clip", [x], min=0.0, max=6.0) if self.opset < 11 else n("Clip", [x, self.given(np.float32(0)), self.given(np.float32(1.0))])
        if kind == "Dilated": return n("Conv", [x, self.given(self.weight(c, c, 3, 3))], dilations=[2, 2], pads=[2] * 4)
        if kind == "Bias": return n("Add", [x, self.given(self.weight(1, scale=1.0))])
        if kind == "Wide": return n("Add", [x, n("GlobalAveragePool", [x])])
        if kind == "Group": return n("Conv", [x, self.given(self.weight(c, 1, 3, 3))], group=c, pads=[1] * 4)
        if kind == "InstanceNorm": return n("InstanceNormalization", [x, self.given(self.weight(c)), self.given(self.weight(c))])
        if kind == "Train" and 14 <= self.opset:
            return n("BatchNormalization", [x, *(self.given(np.abs(self.weight(c, scale=0.3, shift=1.0))) for _ in range(4))], outputs=3, training_mode=1)[0]
        if kind == "Roll" and self.opset >= 10:
            a = n("Slice", [x, self.ints(1), self.ints(1000), self.ints(1)])
            return n("Concat", [a, n("Slice", [x, self.ints(0), self.ints(1), self.ints(1)])], axis=1)
        if kind == "MinusInf": return n("Conv", [self.pad(x, [0, 0, 1, 1, 0, 0, 1, 1], 0.5), self.given(self.weight(c, c, 3, 3))])
        if kind == "Edge": return n("MaxPool", [self.pad(x, [0, 0, 1, 1, 0, 0, 1, 1], mode="edge")], kernel_shape=[3, 3])
        if kind == "PadRelu": return self.relu(self.pad(x, [0, 0, 1, 1, 0, 0, 1, 1]))
        if kind == "GlobalMax": return n("Mul", [x, n("Sigmoid", [n("GlobalMaxPool", [x])])])
        if kind == "Silu": return n("Mul", [x, n("Sigmoid", [x])])
        if kind == "Sub": return n("Sub", [x, self.relu(x)])
        if kind == "Up": return n("ReduceSum", [x], axes=[2], keepdims=1) if self.opset < 13 else n("ReduceSum", [x, self.ints(2)], keepdims=1)
        if kind == "Half": return n("AveragePool", [self.pad(x, [0, 0, 1, 1, 0, 0, 1, 1])], kernel_shape=[3, 3], pads=[1] * 4)
        if kind == "Last": return n(self.pick("Add", "Mul"), [x, self.given(self.weight(c, scale=1.0))])
        if kind == "Order": return n("Transpose", [x], perm=[0, 2, 1, 3])
        return x


def front(net, x, state):
    """What networks do to the input image."""
    layout = state["layout"]
    if state["grey"]:
        if state["bytes"]:
            x = net.node("Div", [x, net.given(np.float32(255))])
        if net.chance(0.5):
            mean = np.float32(0.5) if net.chance(0.5) else np.full((1, 1, 1), 0.5, np.float32)
            x = net.node("Div", [net.node("Sub", [x, net.given(mean)]), net.given(np.float32(0.25))])
        return x
    shape = (1, 1, 3) if layout == "NHWC" and net.chance(0.5) else (3,) if layout == "NHWC" else net.pick((3, 1, 1), (1, 3, 1, 1))
    how = net.rng.randrange(8)
    big = state["bytes"]
    if how <= 2:
        if big:
            x = net.node("Div", [x, net.given(np.float32(255))])
        mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
        x = net.node("Sub", [x, net.given(mean.reshape(shape))])
        x = net.node("Div", [x, net.given(std.reshape(shape))]) if net.chance(0.7) else net.node("Mul", [x, net.given((1 / std).reshape(shape))])
    elif how == 3 and big:
        x = net.node("Sub", [net.node("Div", [x, net.given(np.float32(127.5))]), net.given(np.float32(1))])
    elif how == 4 and big and net.opset >= 10:
        axis = 3 if layout == "NHWC" else 1
        if net.chance(0.5):
            x = net.node("Slice", [x, net.ints(-1), net.ints(-(2**62)), net.ints(axis), net.ints(-1)])
        else:
            x = net.node("Gather", [x, net.ints(2, 1, 0)], axis=axis)
        x = net.node("Sub", [x, net.given(np.array([103.939, 116.779, 123.68], np.float32).reshape(shape))])
        x = net.node("Mul", [x, net.given(np.float32(1 / 64))])
    elif how == 5:
        axis = 3 if layout == "NHWC" else 1
        parts = []
        for c in range(3):
            part = net.node("Gather", [x, net.given(np.int64(c))], axis=axis)
            part = net.axes("Unsqueeze", part, (axis,), 13)
            scale = 0.01 if big else 2.0
            part = net.node("Sub", [net.node("Mul", [part, net.given(np.float32(scale + 0.001 * c))]), net.given(np.float32(0.4 + 0.1 * c))])
            parts.append(part)
        x = net.node("Concat", parts, axis=axis)
    elif big:
        x = net.node("Mul", [x, net.given(np.float32(1 / 255))])
    if net.chance(0.1) and layout == "NCHW":
        x = net.norm(x, 3)
    return x


def whole(net, x, dims, kind):
    """Flattens a whole image without pooling, in any order of axes; `None` if its size is unknown."""
    given = [helper.make_tensor_value_info("image", kind, dims)]
    out = [helper.make_tensor_value_info(x, 1, None)]
    opsets = [helper.make_opsetid("", net.opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph(net.nodes, "net", given, out, net.initializers), opset_imports=opsets, ir_version=8)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        image = np.zeros([d if isinstance(d, int) else 1 for d in dims], np.uint8 if kind == 2 else np.float32)
        _, c, h, w = session.run(None, {"image": image})[0].shape
    except Exception:
        return None
    if c * h * w > 400:
        return None
    perm = net.pick([0, 1, 2, 3], [0, 2, 3, 1], [0, 2, 3, 1], [0, 3, 2, 1], [0, 1, 3, 2])
    if perm not in ([0, 1, 2, 3], [0, 2, 3, 1]) and min(h, w) > 1:
        net.odd.append("Turned")
    if perm != [0, 1, 2, 3]:
        x = net.node("Transpose", [x], perm=perm)
    return (net.node("Flatten", [x]) if net.chance(0.5) else net.node("Reshape", [x, net.ints(net.pick(0, -1), c * h * w)])), c * h * w


def head(net, vector, logits, classes):
    """The outputs, and how to compare the first, which this crate should choose."""
    how = net.rng.randrange(11)
    if how <= 3:
        return [logits], "logits"
    if how == 9:
        return [vector], "features"
    if how == 10:
        return [logits, vector], "logits"
    if how == 4:
        return [net.node("Softmax", [logits], **({"axis": net.pick(1, -1)} if net.opset >= 13 or net.chance(0.5) else {}))], "probabilities"
    if how == 5:
        return [net.node("LogSoftmax", [logits], axis=1)], "log-softmax"
    if how == 6:
        return [net.node("Sigmoid", [logits])], "probabilities"
    if how == 7:
        return [net.node("Softmax", [logits], axis=1), logits], "probabilities"
    return [net.node("Reshape", [net.node("Softmax", [logits], axis=1), net.ints(-1, classes)])], "probabilities"


def function_of(net, nodes):
    """Moves a sequence of nodes into a model-local function."""
    start = net.rng.randrange(len(nodes))
    part = nodes[start : start + net.rng.randrange(1, 5)]
    if any(n.op_type == "If" or n.op_type == "Constant" and not n.output for n in part):
        return nodes
    made = [o for n in part for o in n.output]
    reads = [i for n in part for i in n.input if i and i not in made]
    reads = list(dict.fromkeys(reads))
    later = {i for n in nodes[start + len(part):] for i in n.input} | set(net.outputs)
    gives = [o for o in made if o in later]
    if not gives:
        return nodes
    opsets = [helper.make_opsetid("", net.opset), helper.make_opsetid("com.microsoft", 1)]
    renamed = [helper.make_node(n.op_type, n.input, n.output, name=n.name, domain=n.domain) for n in part]
    for new, old in zip(renamed, part):
        new.attribute.extend(old.attribute)
    net.functions["f"] = helper.make_function("local", "f", reads, gives, renamed, opsets)
    call = helper.make_node("f", reads, gives, domain="local", name="call")
    return nodes[:start] + [call] + nodes[start + len(part):]


def make(seed):
    """A model, how to compare it, and an input image."""
    net = Net(seed)
    h, w = net.rng.randrange(9, 22), net.rng.randrange(9, 22)
    layout = net.pick("NCHW", "NCHW", "NCHW", "NHWC")
    kind = net.pick(1, 1, 1, 1, 1, 2)
    state = {"layout": layout, "bytes": kind == 2 or net.chance(0.4), "grey": net.chance(0.15)}
    channels = 1 if state["grey"] else 3
    x = "image"
    alone = net.chance(0.05)
    if kind == 2:
        x = net.node("Cast", [x], to=1)
    if alone:
        x = net.axes("Unsqueeze", x, (0,), 13)
    x = front(net, x, state)
    if layout == "NHWC":
        x = net.node("Transpose", [x], perm=[0, 3, 1, 2])
    c = net.pick(2, 3, 4, 6)
    x = net.conv(x, channels, c, net.pick(3, 5, 7), stride=net.pick(1, 2))
    if net.chance(0.8):
        x = net.norm(x, c)
    x = net.relu(x)
    if net.chance(0.5):
        x = net.pool(x)
    odd_at = net.rng.randrange(3) if net.chance(0.25) else None
    for index in range(net.rng.randrange(0, 3)):
        if index == odd_at:
            x = net.oddity(x, c)
        x, c = net.block(x, c)
        if net.chance(0.15):
            x = net.node("Transpose", [x], perm=[0, 2, 3, 1])
            if net.chance(0.5):
                x = net.affine(x, net.weight(c, scale=0.2, shift=1.0), net.weight(c, scale=0.2), (c,))
            if net.chance(0.4):
                x = net.node("MatMul", [x, net.given(net.weight(c, c).T.copy())])
            x = net.node("Transpose", [x if net.chance(0.5) else net.node("Relu", [x])], perm=[0, 3, 1, 2])
        if net.chance(0.1):
            x = net.blur(x, c)
    classes = net.pick(1, 2, 5, 7)
    sizes = [channels, h, w] if layout == "NCHW" else [h, w, channels]
    unpooled = whole(net, x, sizes if alone else [1, *sizes], kind) if net.chance(0.1) else None
    vector, c = unpooled or (net.flatten(net.mean(x), c), c)
    logits = net.classifier(vector, c, classes)
    outputs, compare = head(net, vector, logits, classes)
    net.outputs = outputs
    listed = net.rng.sample(outputs, len(outputs))
    nodes = net.nodes
    if net.opset >= 15 and net.chance(0.15):
        nodes = function_of(net, nodes)
    batch = net.pick("n", "n", 1, 2)
    dims = [batch, *sizes]
    if net.chance(0.3):
        dims = [batch, channels, "h", "w"] if layout == "NCHW" else [batch, "h", "w", channels]
    if alone:
        batch, dims = 1, dims[1:]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("image", kind, dims)],
        [helper.make_tensor_value_info(o, 1, None) for o in listed], net.initializers,
    )
    opsets = [helper.make_opsetid("", net.opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8 if net.opset < 21 else 10, functions=list(net.functions.values()))
    images = batch if isinstance(batch, int) else net.pick(1, 2)
    shape = images, channels, h, w
    numbers = net.numbers.integers(0, 256, shape) if state["bytes"] else net.numbers.random(shape)
    return net, model, compare, numbers.astype(np.float32), layout, kind


def runtime(model, numbers, layout, kind, output):
    """What ONNX Runtime computes; `model` is a path or the bytes of one."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = numbers.transpose(0, 2, 3, 1) if layout == "NHWC" else numbers
    x = x[0] if len(session.get_inputs()[0].shape) == 3 else x
    x = np.ascontiguousarray(x).astype(np.uint8 if kind == 2 else np.float32)
    return session.run([output], {"image": x})[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", default="target/debug/examples/onnx_run")
    parser.add_argument("--keep", type=pathlib.Path)
    args = parser.parse_args()
    folder = args.keep or pathlib.Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    run = subprocess.Popen([args.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    sums, reasons, wrong = collections.Counter(), collections.Counter(), []
    for seed in range(args.seed, args.seed + args.count):
        net, model, compare, numbers, layout, kind = make(seed)
        path = folder / f"{seed}.onnx"
        if net.external:
            onnx.save(model, str(path), save_as_external_data=True, location=f"{seed}.onnx.data", size_threshold=256)
        else:
            onnx.save(model, str(path))
        image = folder / f"{seed}.image"
        # A grey image has three equal channels here.
        here = np.ascontiguousarray(np.broadcast_to(numbers, (len(numbers), 3, *numbers.shape[2:])))
        here.tofile(image)
        try:
            want = runtime(str(path), numbers, layout, kind, net.outputs[0])
        except Exception as error:
            want = None
            refusal = re.sub(r"v\d+|\w+_\d+", "_", str(error))[:150]
        run.stdin.write("\t".join([str(path), str(image), *map(str, here.shape)]) + "\n")
        run.stdin.flush()
        got = json.loads(run.stdout.readline())
        verdict, note = "equal", ""
        if "refused" in got:
            reason = re.sub(r"'[^']*'|\[[\d, ]*\]|[-\d.]+", "_", got["refused"])
            verdict = "refused (odd)" if net.odd else "refused"
            reasons[verdict, reason[:110], ",".join(net.odd)] += 1
            note = got["refused"]
        elif want is None or not np.isfinite(want).all():
            verdict = "runtime refuses"
            reasons[verdict, refusal if want is None else "not finite", ""] += 1
        else:
            mine = got["probabilities" if compare == "log-softmax" else compare]
            mine = np.array(np.nan if mine is None else mine, np.float64).reshape(-1)
            mine = np.log(np.maximum(mine, 1e-300)) if compare == "log-softmax" else mine
            want = want.astype(np.float64).reshape(-1)
            scale = 1 + np.abs(want).max()
            far = np.abs(mine - want).max() / scale if mine.shape == want.shape else np.inf
            note = f"{far:.2e}"
            if not far <= 1e-4:
                verdict = "wrong"
                wrong.append((seed, net.odd, note))
        sums[verdict] += 1
        if verdict not in ("wrong",) and not args.keep:
            for old in (path, image, folder / f"{seed}.onnx.data"):
                old.unlink(missing_ok=True)
    run.stdin.close()
    for (verdict, reason, odd), count in sorted(reasons.items(), key=lambda item: (item[0][0], -item[1])):
        print(f"{count:6} {verdict}: {reason} {odd}")
    for seed, odd, note in wrong:
        print(f"WRONG {folder}/{seed}.onnx {odd} {note}")
    print(f"{args.count} graphs:", ", ".join(f"{name} {count}" for name, count in sorted(sums.items())))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
