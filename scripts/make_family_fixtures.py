"""Writes crates/formats/tests/data/families/: tiny networks as torchvision, timm, Hugging Face and the exporter of
PyTorch write them, with what those compute; also CLIP's as OpenCLIP writes it, and a backbone in Detectron2's layout.

usage: pip install torch torchvision timm transformers onnx onnxscript open_clip_torch
       python scripts/make_family_fixtures.py [NAME...]

Each folder has the weights, the configuration files that the library writes beside them, and
golden.safetensors: two images of odd, unequal sides as `input`, and the values of the network by the
names that they have here, computed in 64 bits and rounded to 32. The running statistics are those of
the random images, so that no value is degenerate.
"""

import functools
import json
import pathlib
import shutil
import sys
import warnings

import open_clip.modified_resnet
import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from timm.layers import BatchNormAct2d, GroupNorm, GroupNormAct, StdConv2d, create_conv2d

FOLDER = pathlib.Path(__file__).parent.parent / "crates" / "formats" / "tests" / "data" / "families"
SIZE = (45, 61)
# Average pools in place of strides round odd sides down, convolutions up: timm cannot add the two.
EVEN_SIZE = (64, 96)
CLIP_SIZE = (64, 64)
CLASSES = 5
SMALL = {"layers": (1, 2, 1, 1), "num_classes": CLASSES}
NARROW = {"channels": (8, 12, 16, 24)}
V2 = {
    **SMALL,
    "channels": (16, 24, 32, 40),
    "stem_chs": 8,
    "norm_layer": BatchNormAct2d,
    "conv_layer": create_conv2d,
}


def timm_network(architecture, **arguments):
    return timm.create_model(architecture, **{**SMALL, **arguments})


def v2_network(architecture, **arguments):
    arguments = {**V2, **arguments}
    return named(timm.models.resnetv2.ResNetV2(**arguments), architecture)


def named(model, architecture):
    cfg = timm.get_pretrained_cfg(architecture)
    model.pretrained_cfg = cfg.to_dict() | {"architecture": architecture}
    model.default_cfg = model.pretrained_cfg
    return model


def senet_network(architecture, **arguments):
    # No argument for the width, as in torchvision: an eighth of it.
    class Narrow(timm.models.senet.SENet):
        def _make_layer(self, block, planes, *rest, **more):
            return super()._make_layer(block, planes // 8, *rest, **more)

    block = {
        "legacy_seresnet18": timm.models.senet.SEResNetBlock,
        "legacy_seresnet50": timm.models.senet.SEResNetBottleneck,
        "legacy_seresnext50_32x4d": Grouped,
    }[architecture]
    arguments = {"groups": 1, "reduction": 4, "inplanes": 8, **SMALL, **arguments}
    model = Narrow(block, **arguments)
    model.last_linear = torch.nn.Linear(64 * block.expansion, CLASSES)
    model.num_features = 64 * block.expansion
    cfg = timm.get_pretrained_cfg(architecture)
    model.pretrained_cfg = cfg.to_dict() | {"architecture": architecture}
    model.default_cfg = model.pretrained_cfg
    return model


class Grouped(timm.models.senet.SEResNeXtBottleneck):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, base_width=32, **more)


def torchvision_network(block, layers, change=None, **arguments):
    # torchvision has no argument for the width: a sixteenth of it is made by patching the stem.
    class Narrow(torchvision.models.ResNet):
        def _make_layer(self, block, planes, *rest, **more):
            if self.inplanes == 64 and planes == 64:
                self.inplanes = 4
            return super()._make_layer(block, planes // 16, *rest, **more)

    model = Narrow(block, layers, num_classes=CLASSES, **arguments)
    model.conv1 = torch.nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False)
    model.bn1 = torch.nn.BatchNorm2d(4)
    model.fc = torch.nn.Linear(32 * block.expansion, CLASSES)
    if change:
        change(model)
    return model


def grey(model):
    model.conv1 = torch.nn.Conv2d(1, 4, 7, stride=2, padding=3, bias=False)


def fine(model):
    model.conv1.stride, model.maxpool = (1, 1), torch.nn.Identity()


def rounded_up(model):
    model.maxpool.ceil_mode = True
    model.layer4[0].conv1.stride = model.layer4[0].downsample[0].stride = (1, 1)


def several_layers(model):
    model.fc = torch.nn.Sequential(
        torch.nn.BatchNorm1d(32),
        torch.nn.Linear(32, 6),
        torch.nn.ReLU(),
        torch.nn.Dropout(),
        torch.nn.Linear(6, CLASSES),
    )


def in_first(model):
    """Strides in the first 1x1, as Detectron2's own backbones have them."""
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    model.fc = torch.nn.Identity()


def detectron(name):
    """One of torchvision's names in Detectron2, where a convolution has its normalisation within."""
    if not name.startswith("layer"):
        name = f"stem.{name}"
    for stage in range(1, 5):
        name = name.replace(f"layer{stage}.", f"res{stage + 1}.")
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    for number in range(1, 4):
        name = name.replace(f"bn{number}", f"conv{number}.norm")
    return f"backbone.bottom_up.{name}"


def clip_network():
    model = open_clip.modified_resnet.ModifiedResNet(
        layers=[1, 2, 1, 1], output_dim=8, heads=2, image_size=CLIP_SIZE[0], width=4
    )
    # Its file has 16 bits.
    return model.half().float()


class Small(torch.nn.Module):
    """Networks for CIFAR, with the names and the two kinds of shortcuts found in public repositories."""

    def __init__(self, block, layers, shortcut, head):
        super().__init__()
        self.block, self.named, self.channels = block, shortcut, 4
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False), torch.nn.BatchNorm2d(4)
        for stage, count in enumerate(layers):
            blocks = [self.one(4 << stage, 2 if stage > 0 and n == 0 else 1) for n in range(count)]
            setattr(self, f"layer{stage + 1}", torch.nn.Sequential(*blocks))
        self.stages = len(layers)
        self.head = head
        setattr(self, head, torch.nn.Linear(self.channels, CLASSES))

    def one(self, planes, stride):
        out = planes * self.block.expansion
        block, before = self.block(self.channels, planes, stride), self.channels
        self.channels = out
        if stride == 1 and before == out:
            projection = None
        elif self.named:
            conv = torch.nn.Conv2d(before, out, 1, stride, bias=False)
            projection = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(out))
        else:
            projection = Zeros((out - before) // 2)
        block.downsample = projection
        return block

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))

    def state_dict(self, *rest, **more):
        tensors = super().state_dict(*rest, **more)
        renamed = {name.replace("downsample", self.named or ""): t for name, t in tensors.items()}
        return renamed if self.named else tensors


class Zeros(torch.nn.Module):
    def __init__(self, before):
        super().__init__()
        self.before = before

    def forward(self, x):
        return torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.before))


def hugging_face_network(**arguments):
    labels = {i: name for i, name in enumerate(["ant", "bee", "cat", "dog", "eel"])}
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 24, 40, 48],
        depths=[1, 2, 1, 1],
        id2label=labels,
        label2id={name: i for i, name in labels.items()},
        **arguments,
    )
    return transformers.ResNetForImageClassification(config)


Basic, Bottleneck = torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck

# Name of the folder, the network, and its values: module there, name here.
TORCH = {"maxpool": "maxpool", "layer2": "layer2.1.relu3", "layer4": "layer4.0.relu3"}
TORCH_BASIC = {"maxpool": "maxpool", "layer2": "layer2.1.relu2", "layer4": "layer4.0.relu2"}
SENET = {"pool0": "maxpool", "layer2": "layer2.1.relu3", "layer4": "layer4.0.relu3"}
SENET_BASIC = {"pool0": "maxpool", "layer2": "layer2.1.relu", "layer4": "layer4.0.relu"}
SMALL_BASIC = {key: value for key, value in TORCH_BASIC.items() if key != "maxpool"}
CIFAR = {"layer2": "layer2.1.relu2", "layer3": "layer3.0.relu2"}
PRE_ACT = {"stem": "stem.pool", "stages.1": "stages.1.blocks.1.add", "norm": "norm.act"}
HF = {
    "resnet.embedder": "maxpool",
    "resnet.encoder.stages.1": "layer2.1.relu3",
    "resnet.encoder.stages.3": "layer4.0.relu3",
}
HF_BASIC = {key: value.replace("relu3", "relu2") for key, value in HF.items()}

NETWORKS = {
    "torchvision-basic": (lambda: torchvision_network(Basic, [1, 2, 1, 1]), TORCH_BASIC, "fc"),
    "torchvision-resnext": (
        lambda: torchvision_network(Bottleneck, [1, 2, 1, 1], groups=2, width_per_group=32),
        TORCH,
        "fc",
    ),
    "torchvision-wide": (
        lambda: torchvision_network(Bottleneck, [1, 2, 1, 1], width_per_group=128),
        TORCH,
        "fc",
    ),
    "timm-d": (lambda: timm_network("resnet50d", stem_width=4, **NARROW), TORCH, "fc"),
    "timm-d-basic": (lambda: timm_network("resnet18d", stem_width=4, **NARROW), TORCH_BASIC, "fc"),
    "timm-c": (lambda: timm_network("resnet50c", stem_width=4, **NARROW), TORCH, "fc"),
    "timm-s": (lambda: timm_network("resnet50s", stem_width=8, **NARROW), TORCH, "fc"),
    "timm-t": (lambda: timm_network("resnet50t", stem_width=4, **NARROW), TORCH, "fc"),
    "timm-se": (lambda: timm_network("seresnet50", **NARROW), TORCH, "fc"),
    "timm-se-basic": (lambda: timm_network("seresnet18", **NARROW), TORCH_BASIC, "fc"),
    "timm-senet": (lambda: senet_network("legacy_seresnet50"), SENET, "fc"),
    "timm-senet-basic": (lambda: senet_network("legacy_seresnet18"), SENET_BASIC, "fc"),
    "timm-senext": (lambda: senet_network("legacy_seresnext50_32x4d", groups=2), SENET, "fc"),
    "timm-blur": (lambda: timm_network("resnetblur50", **NARROW), TORCH, "fc"),
    "timm-blur-basic": (lambda: timm_network("resnetblur18", **NARROW), TORCH_BASIC, "fc"),
    "timm-aa": (lambda: timm_network("resnetaa50", **NARROW), TORCH, "fc"),
    "timm-se-aa-d": (
        lambda: timm_network("seresnextaa101d_32x8d", stem_width=4, cardinality=2, base_width=32, **NARROW),
        TORCH,
        "fc",
    ),
    "timm-v2": (lambda: v2_network("resnetv2_50"), PRE_ACT, "head.fc"),
    "timm-v2-basic": (
        lambda: v2_network("resnetv2_18", basic=True, bottle_ratio=1.0),
        PRE_ACT,
        "head.fc",
    ),
    "timm-v2-d": (
        lambda: v2_network("resnetv2_50d", stem_type="deep", avg_down=True),
        PRE_ACT,
        "head.fc",
    ),
    "timm-v2-fixed": (lambda: v2_network("resnetv2_50", stem_type="fixed"), PRE_ACT, "head.fc"),
    "timm-eca": (lambda: timm_network("ecaresnet50t", stem_width=4, **NARROW), TORCH, "fc"),
    "timm-sk": (lambda: timm_network("skresnet50", **NARROW), TORCH, "fc"),
    "timm-sk-basic": (lambda: timm_network("skresnet18", **NARROW), TORCH_BASIC, "fc"),
    "timm-sk-next": (
        lambda: timm_network("skresnext50_32x4d", cardinality=4, base_width=32, **NARROW),
        TORCH,
        "fc",
    ),
    "timm-resnest": (lambda: timm_network("resnest50d", stem_width=4, **NARROW), TORCH, "fc"),
    "timm-res2net": (lambda: timm_network("res2net50_26w_4s", **NARROW), TORCH, "fc"),
    "timm-res2next": (
        lambda: timm_network("res2next50", base_width=16, cardinality=4, **NARROW),
        TORCH,
        "fc",
    ),
    "timm-gn": (
        lambda: named(
            timm.models.resnet.ResNet(
                timm.models.resnet.Bottleneck,
                norm_layer=functools.partial(GroupNorm, num_groups=4),
                **SMALL,
                **NARROW,
            ),
            "resnet50_gn",
        ),
        TORCH,
        "fc",
    ),
    "timm-bit": (
        lambda: v2_network(
            "resnetv2_50x1_bit",
            stem_type="fixed",
            norm_layer=functools.partial(GroupNormAct, num_groups=2),
            conv_layer=functools.partial(StdConv2d, eps=1e-8),
        ),
        PRE_ACT,
        "head.fc",
    ),
    "timm-dilated": (
        lambda: timm_network("resnet50d", output_stride=8, stem_width=4, **NARROW),
        TORCH,
        "fc",
    ),
    "torchvision-dilated": (
        lambda: torchvision_network(
            Bottleneck, [1, 2, 1, 1], replace_stride_with_dilation=[False, True, True]
        ),
        TORCH,
        "fc",
    ),
    "torchvision-head": (
        lambda: torchvision_network(Basic, [1, 2, 1, 1], several_layers),
        {**TORCH_BASIC, "fc.1": "fc.1"},
        "fc.4",
    ),
    "timm-max": (lambda: timm_network("resnet18", global_pool="max", **NARROW), TORCH_BASIC, "fc"),
    "torchvision-grey": (lambda: torchvision_network(Basic, [1, 2, 1, 1], grey), TORCH_BASIC, "fc"),
    "torchvision-fine": (lambda: torchvision_network(Basic, [1, 2, 1, 1], fine), SMALL_BASIC, "fc"),
    "torchvision-ceil": (
        lambda: torchvision_network(Basic, [1, 2, 1, 1], rounded_up),
        TORCH_BASIC,
        "fc",
    ),
    "cifar-a": (lambda: Small(Basic, [1, 2, 1], None, "linear"), CIFAR, "fc"),
    "cifar-b": (lambda: Small(Basic, [1, 2, 1], "downsample", "fc"), CIFAR, "fc"),
    "cifar-bottleneck": (
        lambda: Small(Bottleneck, [1, 2, 1, 1], "shortcut", "linear"),
        {"layer2": "layer2.1.relu3", "layer4": "layer4.0.relu3"},
        "fc",
    ),
    "clip": (clip_network, {"layer2": "layer2.1.relu3", "layer4": "layer4.0.relu3"}, "attnpool.c_proj"),
    "detectron": (lambda: torchvision_network(Bottleneck, [1, 2, 1, 1], in_first), TORCH, "avgpool"),
    "huggingface": (lambda: hugging_face_network(), HF, "fc"),
    "huggingface-v1": (lambda: hugging_face_network(downsample_in_bottleneck=True), HF, "fc"),
    "huggingface-first": (lambda: hugging_face_network(downsample_in_first_stage=True), HF, "fc"),
    "huggingface-basic": (lambda: hugging_face_network(layer_type="basic"), HF_BASIC, "fc"),
    "onnx-folded": (lambda: timm_network("resnet50d", stem_width=4, **NARROW), {}, None),
}


def calibrate(model, images):
    """Sets random scales and shifts, and the running statistics of the images."""
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm1d, torch.nn.GroupNorm)):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.3)
            module.momentum = None
    model.train()
    with torch.no_grad():
        for _ in range(2):
            model(images)
    return model.eval()


def logits(output):
    return getattr(output, "logits", output)


def golden(model, images, names, classifier):
    values, hooks = {"input": images}, []

    def keep(name):
        def hook(_module, _inputs, output):
            output = getattr(output, "last_hidden_state", output)
            values[name] = output.detach()

        return hook

    for module, name in names.items():
        hooks.append(model.get_submodule(module).register_forward_hook(keep(name)))
    with torch.no_grad():
        output = logits(model.double()(images.double()))
    for hook in hooks:
        hook.remove()
    model.float()
    if classifier:
        values[classifier] = output
    return {name: value.float().contiguous() for name, value in values.items()}, output


def write(name, make, names, classifier):
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.manual_seed(sum(name.encode()))
    model = make()
    size = EVEN_SIZE if "-aa" in name else CLIP_SIZE if name == "clip" else SIZE
    # A grey image has three channels here, which are the same.
    channels = 1 if name.endswith("grey") else 3
    images = torch.randn(2, channels, *size)
    calibrate(model, torch.cat([images, torch.randn(6, channels, *size)]))
    if name == "clip":
        model.half().float()
    values, output = golden(model, images, names, classifier)
    values["input"] = values["input"].expand(-1, 3, -1, -1).contiguous()
    if name.startswith(("torchvision", "cifar")):
        torch.save(model.state_dict(), folder / "model.pth")
    elif name == "detectron":
        state = {detectron(key): value for key, value in model.state_dict().items() if "num_batches" not in key}
        torch.save({"model": state, "matching_heuristics": True}, folder / "model.pth")
    elif name == "clip":
        state = {f"visual.{key}": value.half().contiguous() for key, value in model.state_dict().items()}
        # What reads texts.
        state["transformer.resblocks.0.mlp.c_fc.weight"] = torch.zeros(4, 2)
        state["token_embedding.weight"] = state["text_projection"] = torch.zeros(2, 2)
        state["ln_final.bias"], state["logit_scale"] = torch.zeros(2), torch.tensor(4.6)
        save_file({key: value.clone() for key, value in state.items()}, folder / "model.safetensors")
    elif name.startswith("timm"):
        arguments = {"timm-v2-fixed": {"stem_type": "fixed"}, "timm-dilated": {"output_stride": 8}}.get(name, {})
        model.model_args = None
        timm.models.save_for_hf(
            model, str(folder), model_args=arguments, safe_serialization=True
        )
        (folder / "README.md").unlink(missing_ok=True)
    elif name.startswith("huggingface"):
        model.save_pretrained(folder)
        processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.9)
        processor.save_pretrained(folder)
    else:
        torch.onnx.export(
            model, (images,), str(folder / "model.onnx"), opset_version=18, dynamo=True, external_data=False
        )
        import onnx

        graph = onnx.load(folder / "model.onnx").graph
        classifier = next(node for node in graph.node if graph.output[0].name in node.output)
        values[classifier.name] = output.float()
    save_file(values, folder / "golden.safetensors")
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    print(name, json.dumps(sizes), [round(x, 3) for x in output[0].tolist()])


warnings.simplefilter("ignore")
for name, network in NETWORKS.items():
    if len(sys.argv) < 2 or name in sys.argv[1:]:
        write(name, *network)
