#!/usr/bin/env python3
"""Writes crates/formats/tests/data/keras: small ResNets of every Keras family, saved by Keras itself, with the
results that it computes. The files are compressed with gzip.

    pip install keras keras-hub h5py torch tensorflow-cpu tf-keras
    python scripts/make_keras_fixtures.py                 # Keras 3 (torch) and Keras 2 (TensorFlow)
    python scripts/make_keras_fixtures.py --preset        # the folders of KerasHub and of Keras, any backend
    python scripts/make_keras_fixtures.py --plain NAME    # in an environment of an older Keras

The last form needs nothing but one Keras (2.13 of TensorFlow 2.13, 3.0): it writes NAME.keras and
NAME.weights.h5. All images are 2 of 40x36; all numbers are those of the generator in `numbers`.
"""

import argparse
import gzip
import inspect
import json
import os
import pathlib
import shutil

import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/formats/tests/data/keras"
BATCH, SIZE, CLASSES = 2, (40, 36), 5


def numbers(count):
    """Floats from -1 to 1, made from the bytes of a linear congruential generator."""
    values, state = np.empty(count, np.float32), 1
    for i in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        values[i] = np.float32(state >> 16 & 255) / np.float32(127.5) - np.float32(1)
    return values


def image(channels_first=False):
    x = numbers(BATCH * 3 * SIZE[0] * SIZE[1]).reshape(BATCH, 3, *SIZE)
    return x if channels_first else x.transpose(0, 2, 3, 1)


def randomise(model, seed=7):
    """Sets weights that preserve the magnitude of activations: He's for kernels, random ones for the rest."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name = getattr(weight, "path", weight.name).split("/")[-1].split(":")[0]
        shape = tuple(weight.shape)
        if name == "kernel":
            fan_in = np.prod(shape[:-1])
            value = rng.normal(0, np.sqrt(2 / fan_in), shape)
        elif name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        elif name in ("bias", "beta", "moving_mean"):
            value = rng.normal(0, 0.2, shape)
        else:  # the state of a random generator
            continue
        weight.assign(value.astype(np.float32))


def to_numpy(x):
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)


def nchw(x, channels_first):
    return x if x.ndim != 4 or channels_first else x.transpose(0, 3, 1, 2)


def run(K, model, taps, channels_first=False, x=None, training=False):
    """The logits, before a final softmax, and the activations of some layers."""
    x = image(channels_first) if x is None else x
    head = [layer for layer in model.layers if type(layer).__name__ == "Dense"][-1]
    outputs = [head.input] + [model.get_layer(tap).output for tap in taps]
    values = K.Model(model.inputs, outputs)(x, training=training)
    # One output comes without a list around it.
    values = [to_numpy(v) for v in (values if taps else [values])]
    kernel, bias = (to_numpy(w).astype(np.float64) for w in head.weights)
    logits = values[0].astype(np.float64) @ kernel + bias
    return {
        "logits": np.round(logits, 6).ravel().tolist(),
        "taps": [
            {"name": tap, "values": np.round(nchw(v, channels_first)[0].ravel()[:400].astype(float), 6).tolist()}
            for tap, v in zip(taps, values[1:])
        ],
    }


# --- Networks -------------------------------------------------------------------------------------


def branches(K, style, add_order="main", training=None, named=True, classes=CLASSES, width=4):
    """The families with names such as res2a_branch2a, as their own sources build them:
    keras_applications/resnet50.py, TensorFlow's official resnet_model.py, the lesson's notebook."""
    L = K.layers
    official, notebook = style == "official", style == "notebook"
    bias, eps = not official, 1e-5 if official else 1e-3
    call = {} if training is None else {"training": training}

    def conv(x, f, k, name, **options):
        options.update(name=name) if named else None
        return L.Conv2D(f, k, use_bias=bias, **options)(x)

    def norm(x, name):
        options = {"name": name} if named else {}
        return L.BatchNormalization(axis=3, epsilon=eps, **options)(x, **call)

    def block(x, f, stage, letter, stride=None):
        res, bn = f"res{stage}{letter}_branch", f"bn{stage}{letter}_branch"
        first = {"strides": stride} if stride and not official else {}
        middle = {"strides": stride} if stride and official else {}
        y = L.Activation("relu")(norm(conv(x, f, 1, res + "2a", **first), bn + "2a"))
        y = L.Activation("relu")(norm(conv(y, f, 3, res + "2b", padding="same", **middle), bn + "2b"))
        shortcut = x
        y = norm(conv(y, 4 * f, 1, res + "2c"), bn + "2c")
        if stride:
            shortcut = norm(conv(x, 4 * f, 1, res + "1", strides=stride), bn + "1")
        pair = [y, shortcut] if add_order == "main" else [shortcut, y]
        return L.Activation("relu")(L.Add()(pair))

    inputs = L.Input((*SIZE, 3))
    x = L.ZeroPadding2D(3)(inputs)
    x = L.Activation("relu")(norm(conv(x, width, 7, "conv1", strides=2), "bn_conv1"))
    if style == "fchollet":
        x = L.ZeroPadding2D(1)(x)
    x = L.MaxPooling2D(3, strides=2, padding="same" if official else "valid")(x)
    for stage, letters in ((2, "ab"), (3, "ab"), (4, "a")):
        for letter in letters:
            stride = (1 if stage == 2 else 2) if letter == "a" else None
            x = block(x, width * 2 ** (stage - 2), stage, letter, stride)
    if notebook:
        x = L.Flatten()(L.AveragePooling2D(2)(x))
    else:
        x = L.GlobalAveragePooling2D()(x)
    head = {"name": f"fc{classes}"} if named else {}
    if official:
        x = L.Dense(classes, **head)(x)
        return K.Model(inputs, L.Activation("softmax")(x), name="resnet50")
    return K.Model(inputs, L.Dense(classes, activation="softmax", **head)(x), name="resnet50")


def applications(K, version, module, include_top=True, name="small"):
    """keras.applications' own builder with few filters."""
    stack = module.stack_residual_blocks_v2 if version == 2 else module.stack_residual_blocks_v1

    def stacks(x):
        x = stack(x, 4, 2, **({} if version == 2 else {"stride1": 1}), name="conv2")
        x = stack(x, 4, 2, name="conv3")
        return stack(x, 8, 2, **({"stride1": 1} if version == 2 else {}), name="conv4")

    key = "model_name" if "model_name" in inspect.signature(module.ResNet).parameters else "name"
    return module.ResNet(
        stacks, version == 2, True, weights=None, include_top=include_top,
        input_shape=(*SIZE, 3), classes=CLASSES, **{key: name},
    )


def first(K):
    """What old environments can write: unnamed layers, channels last, a dropout, nothing unusual."""
    L = K.layers
    inputs = L.Input((*SIZE, 3))
    x = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(4, 3, strides=2, padding="same")(inputs)))
    x = L.MaxPooling2D(3, strides=2, padding="same")(x)
    y = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(4, 1)(x)))
    y = L.BatchNormalization()(L.Conv2D(8, 1)(y))
    shortcut = L.BatchNormalization()(L.Conv2D(8, 1)(x))
    x = L.Activation("relu")(L.Add()([shortcut, y]))
    x = L.Dropout(0.25)(L.GlobalAveragePooling2D()(x))
    return K.Model(inputs, L.Dense(CLASSES, activation="softmax")(x), name="first")


def rare(K, channels_first):
    """What only a description can state: channels first, uneven padding, scaled pixels, no gamma."""
    L = K.layers
    fmt = "channels_first" if channels_first else "channels_last"
    axis = 1 if channels_first else -1
    inputs = L.Input((3, *SIZE) if channels_first else (*SIZE, 3))
    x = inputs if channels_first else L.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = L.ZeroPadding2D(((2, 1), (0, 3)), data_format=fmt)(x)
    x = L.Conv2D(6, (5, 3), strides=2, activation="relu", data_format=fmt, name="stem")(x)
    x = L.BatchNormalization(axis=axis, scale=False)(x)
    x = L.AveragePooling2D(3, strides=1, padding="same", data_format=fmt)(x)
    x = L.Conv2D(8, 3, groups=2, padding="same", use_bias=False, data_format=fmt, name="grouped")(x)
    x = L.BatchNormalization(axis=axis, center=False, epsilon=0.01)(x)
    x = L.ReLU(name="relu")(x)
    x = L.Flatten(data_format=fmt)(L.MaxPooling2D(2, data_format=fmt)(x))
    return K.Model(inputs, L.Dense(CLASSES, use_bias=True)(x), name="rare")


def nested(K, module):
    """Transfer learning: a network without its head as a layer of another."""
    base = applications(K, 1, module, include_top=False, name="base")
    return K.Sequential([K.layers.Input((*SIZE, 3)), base, K.layers.GlobalAveragePooling2D(),
                         K.layers.Dropout(0.5), K.layers.Dense(CLASSES)], name="transfer")


# --- Files ----------------------------------------------------------------------------------------


class Cases:
    def __init__(self, name):
        self.name, self.cases = name, []

    def add(self, files, result, **options):
        for file in files:
            self.cases.append({"file": file, **options, **result})

    def write(self):
        path = OUT / f"expected-{self.name}.json"
        path.write_text(json.dumps({"cases": self.cases}) + "\n")
        print(path, len(self.cases))


def rewrite(source, target, change=None, **options):
    """Rewrites a file with other HDF5 options, using the HDF5 library itself."""
    import h5py

    with h5py.File(source) as old, h5py.File(target, "w", libver=options.pop("libver", None)) as new:
        def copy(a, b):
            for key, value in a.attrs.items():
                if options.get("fixed") and getattr(value, "dtype", None) == object:
                    value = np.array([v.encode() if isinstance(v, str) else v for v in value])
                b.attrs[key] = value
            for key, item in a.items():
                if isinstance(item, h5py.Dataset):
                    data = item[()]
                    data = change(item.name, data) if change else data
                    filters = {k: v for k, v in options.items() if k != "fixed"} if data.ndim > 1 else {}
                    b.create_dataset(key, data=data, **filters)
                else:
                    copy(item, b.create_group(key))
        copy(old, new)


def strip_names(source, target):
    """Removes layer names, which early versions of Keras 3 did not write."""
    import h5py

    shutil.copy(source, target)
    with h5py.File(target, "a") as file:
        found = []
        file.visititems(lambda name, item: found.append(name) if "name" in item.attrs else None)
        for name in found:
            del file[name].attrs["name"]


def keras_3(cases):
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from keras.src.applications import resnet
    from keras.src.legacy.saving import legacy_h5_format

    def fresh(build, *args, **options):
        keras.utils.clear_session()
        model = build(*args, **options)
        randomise(model)
        return model

    p = lambda name: str(OUT / name)
    # K2: all three formats.
    model = fresh(applications, keras, 1, resnet)
    result = run(keras, model, ["pool1_pool", "conv3_block1_out"])
    model.save(p("k2.keras"))
    model.save(p("k2.h5"))
    model.save_weights(p("k2.weights.h5"))
    import h5py
    # A low limit makes the lists of names too long for one attribute, as those of a ResNet-152 are.
    legacy_h5_format.HDF5_OBJECT_HEADER_LIMIT = 600
    with h5py.File(p("k2-only.h5"), "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    legacy_h5_format.HDF5_OBJECT_HEADER_LIMIT = 64512
    rewrite(p("k2-only.h5"), p("k2-gzip.h5"), compression="gzip", shuffle=True, fletcher32=True, fixed=True)
    rewrite(p("k2-only.h5"), p("k2-latest.h5"), compression="gzip", libver="latest")
    cases.add(["k2.keras", "k2.h5", "k2.weights.h5", "k2-only.h5", "k2-gzip.h5", "k2-latest.h5"], result)
    rewrite(p("k2-only.h5"), p("k2-half.h5"), lambda _, x: x.astype(np.float16))
    cases.add(["k2-half.h5"], result, tolerance=5e-2)
    strip_names(p("k2.weights.h5"), p("k2-unnamed.weights.h5"))
    cases.add(["k2-unnamed.weights.h5"], {**result, "taps": []}, variant="keras-applications")

    # K3
    model = fresh(applications, keras, 2, resnet)
    result = run(keras, model, ["pool1_pool", "conv3_block2_out"])
    model.save(p("k3.keras"))
    model.save_weights(p("k3.weights.h5"))
    strip_names(p("k3.weights.h5"), p("k3-unnamed.weights.h5"))
    cases.add(["k3.keras", "k3.weights.h5"], result)
    cases.add(["k3-unnamed.weights.h5"], {**result, "taps": []})

    # K5, as students save it: unnamed, either order of the sum, statistics of the batch.
    for order in "main", "shortcut":
        model = fresh(branches, keras, "notebook", order, named=False)
        result = run(keras, model, [])
        name = f"k5-{order}.weights.h5"
        model.save_weights(p(name))
        cases.add([name], result, variant="notebook")
    strip_names(p("k5-main.weights.h5"), p("k5-stripped.weights.h5"))
    cases.add(["k5-stripped.weights.h5"], cases.cases[-2], file="k5-stripped.weights.h5")
    model = fresh(branches, keras, "notebook", training=True, named=False)
    result = run(keras, model, [])
    model.save(p("k5-training.keras"))
    cases.add(["k5-training.keras"], result)
    # Called as a function it obeys the description, in `predict` it does not.
    result = run(keras, model, [], training=None)
    cases.add(["k5-training.keras"], result, bn_mode="batch", batch_norms=19)

    # K6
    import keras_hub
    keras.utils.clear_session()
    backbone = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 4], [1, 2], [1, 2], "bottleneck_block", image_shape=(*SIZE, 3))
    model = keras_hub.models.ImageClassifier(backbone=backbone, num_classes=CLASSES)
    randomise(model)
    x = image()
    logits = to_numpy(model(x, training=False)).astype(float)
    inner = keras.Model(backbone.inputs, backbone.get_layer("pool1_pool").output)
    tap = to_numpy(inner(x, training=False)).transpose(0, 3, 1, 2)[0].ravel()[:400].astype(float)
    model.save(p("k6.keras"))
    model.save_weights(p("k6.weights.h5"))
    result = {"logits": np.round(logits, 6).ravel().tolist(), "taps": []}
    cases.add(["k6.weights.h5"], result)
    tap = {"name": "res_net_backbone/pool1_pool", "values": np.round(tap, 6).tolist()}
    cases.add(["k6.keras"], {**result, "taps": [tap]})

    # A network in a network, of both writers.
    model = fresh(nested, keras, resnet)
    logits = to_numpy(model(image(), training=False)).astype(float)
    result = {"logits": np.round(logits, 6).ravel().tolist(), "taps": []}
    model.save(p("nested.keras"))
    model.save(p("nested.h5"))
    cases.add(["nested.keras", "nested.h5"], result)

    # What only a description shows.
    for channels_first in False, True:
        model = fresh(rare, keras, channels_first)
        name = f"rare-{'first' if channels_first else 'last'}.keras"
        # The network that scales its pixels itself gets them unscaled.
        x = image(True) if channels_first else (image() + 1) * np.float32(127.5)
        result = run(keras, model, ["grouped"], channels_first, x)
        model.save(p(name))
        cases.add([name], result)

    # Sixteen bits.
    keras.config.set_dtype_policy("bfloat16")
    model = fresh(first, keras)
    model.save(p("bfloat16.keras"))
    keras.config.set_dtype_policy("float32")
    keras.utils.clear_session()
    wide = first(keras)
    for a, b in zip(wide.weights, model.weights):
        a.assign(to_numpy(b.value.float()))
    cases.add(["bfloat16.keras"], run(keras, wide, []), tolerance=1e-3)


def keras_2(cases):
    import tf_keras
    from tf_keras.src.applications import resnet

    resnet.stack_residual_blocks_v1, resnet.stack_residual_blocks_v2 = resnet.stack1, resnet.stack2
    p = lambda name: str(OUT / name)

    def fresh(build, *args, **options):
        tf_keras.backend.clear_session()
        model = build(*args, **options)
        randomise(model)
        return model

    # K1, with the names of the classifier that tell it from the lesson's; K4; K5 with names.
    for name, style, classes, options in (
        ("k1", "fchollet", 1000, {}),
        ("k4", "official", CLASSES, {"variant": "tf-official"}),
        ("k5", "notebook", CLASSES, {}),
    ):
        # Few filters where the classifier is large.
        width = 2 if classes == 1000 else 4
        model = fresh(branches, tf_keras, style, classes=classes, width=width)
        taps = ["bn3a_branch1", "bn4a_branch2c"]
        result = run(tf_keras, model, taps)
        model.save_weights(p(f"{name}-only.h5"))
        cases.add([f"{name}-only.h5"], result, **options)
        if name != "k1":
            model.save(p(f"{name}.h5"))
            cases.add([f"{name}.h5"], result)

    # The first Keras' names, and kernels as Theano turned them.
    import h5py
    with h5py.File(p("k5-only.h5")) as old, h5py.File(p("k5-theano.h5"), "w") as new:
        new.attrs["layer_names"] = old.attrs["layer_names"]
        new.attrs["backend"] = b"theano"
        short = {"kernel:0": "W", "bias:0": "b", "gamma:0": "gamma", "beta:0": "beta",
                 "moving_mean:0": "running_mean", "moving_variance:0": "running_std"}
        for layer in old.attrs["layer_names"]:
            group, names = new.create_group(layer), []
            for weight in old[layer].attrs["weight_names"]:
                data = old[layer][weight][()]
                data = data[::-1, ::-1] if data.ndim == 4 else data
                names.append(f"{layer}_{short[weight.split('/')[-1]]}:0".encode())
                group.create_dataset(names[-1].decode(), data=data)
            group.attrs["weight_names"] = names
    cases.add(["k5-theano.h5"], {k: v for k, v in cases.cases[-1].items() if k in ("logits", "taps")})

    # K5 as it is saved after the lesson of 2021: unnamed, and with statistics of the batch.
    model = fresh(branches, tf_keras, "notebook", training=True, named=False)
    result = run(tf_keras, model, [])
    model.save(p("k5-training.h5"))
    cases.add(["k5-training.h5"], result, batch_norms=19)
    for layer in model.layers:  # The same weights with running statistics.
        layer.trainable = False
    cases.add(["k5-training.h5"], run(tf_keras, model, []), bn_mode="running")

    model = fresh(nested, tf_keras, resnet)
    logits = to_numpy(model(image(), training=False)).astype(float)
    result = {"logits": np.round(logits, 6).ravel().tolist(), "taps": []}
    model.save(p("nested-2.h5"))
    cases.add(["nested-2.h5"], result)


def plain(cases, name):
    try:
        import keras
        keras.Model
    except (ImportError, AttributeError):
        from tensorflow import keras
    model = first(keras)
    randomise(model)
    model.save(str(OUT / f"{name}.keras"))
    cases.add([f"{name}.keras"], run(keras, model, []))


def preset():
    """A KerasHub classifier written by `save_to_preset`, and a network saved by Keras without zipping."""
    import keras
    import keras_hub
    backbone = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 4], [1, 2], [1, 2], "bottleneck_block", image_shape=(None, None, 3))
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=SIZE, scale=[1 / 58.395, 1 / 57.12, 1 / 57.375], offset=[-2.125, -2.0625, -1.75])
    classifier = keras_hub.models.ResNetImageClassifier(
        backbone=backbone, num_classes=CLASSES,
        preprocessor=keras_hub.models.ResNetImageClassifierPreprocessor(converter))
    randomise(classifier)
    for weight in classifier.weights:  # Halves compress well.
        if "float" in str(weight.dtype):
            weight.assign(to_numpy(weight).astype(np.float16).astype(np.float32))
    classifier.save_to_preset(str(OUT / "preset"))
    logits = to_numpy(classifier(image(), training=False)).astype(float)
    network = first(keras)
    randomise(network)
    network.save(str(OUT / "unzipped"), zipped=False)
    shutil.rmtree(OUT / "unzipped/assets")
    expected = {"preset": np.round(logits, 6).ravel().tolist(), "unzipped": run(keras, network, [])["logits"]}
    (OUT / "expected-preset.json").write_text(json.dumps(expected) + "\n")
    for folder in "preset", "unzipped":
        pack(OUT / folder)


def pack(folder=OUT):
    """Compresses a file: most of a small one is HDF5's overhead."""
    for path in folder.iterdir():
        if path.suffix in (".h5", ".keras"):
            packed = gzip.compress(path.read_bytes(), 9, mtime=0)
            path.with_name(path.name + ".gz").write_bytes(packed)
            path.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plain", metavar="NAME")
    parser.add_argument("--preset", action="store_true")
    options = parser.parse_args()
    plain_name = options.plain
    OUT.mkdir(parents=True, exist_ok=True)
    if options.preset:
        preset()
        return
    if plain_name:
        cases = Cases(plain_name)
        plain(cases, plain_name)
        cases.write()
        pack()
        return
    for name, part in (("keras-3", keras_3), ("keras-2", keras_2)):
        cases = Cases(name)
        part(cases)
        cases.write()
    pack()


if __name__ == "__main__":
    main()
