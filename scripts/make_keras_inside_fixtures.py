#!/usr/bin/env python3
"""Writes crates/formats/tests/data/keras/inside: small networks as people build them: preprocessing inside the
network, other heads or none, nested networks; saved by Keras itself, with the results that it computes.

    pip install keras h5py tensorflow-cpu tf-keras
    python scripts/make_keras_inside_fixtures.py 3      # Keras 3, with TensorFlow
    python scripts/make_keras_inside_fixtures.py 2      # Keras 2, with TensorFlow
"""

import json
import os
import sys

import numpy as np

from make_keras_fixtures import OUT as ALL
from make_keras_fixtures import pack, randomise, to_numpy

OUT = ALL / "inside"
SIZE, CLASSES = (12, 10), 3


def picture():
    """Bytes of a linear congruential generator as a picture: height by width by RGB."""
    values, state = [], 1
    for _ in range(SIZE[0] * SIZE[1] * 3):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        values.append(state >> 16 & 255)
    return np.array(values, np.float32).reshape(1, *SIZE, 3)


def networks(K, version):
    """Yields a name, whether the network takes bytes, and a function that builds it."""
    L = K.layers
    pool = L.GlobalAveragePooling2D

    def trunk(x, filters=4):
        x = L.Conv2D(filters, 3, strides=2, padding="same")(x)
        return L.Activation("relu")(L.BatchNormalization()(x))

    def of(prepare=lambda x: x, head=lambda x: L.Dense(CLASSES, activation="softmax")(pool()(x)), trunk=trunk):
        def build():
            inputs = L.Input((*SIZE, 3))
            return K.Model(inputs, head(trunk(prepare(inputs))))
        return build

    def mixed(x):
        """Arithmetic in every order, and one step that inverts brightness."""
        if version == 3:
            x, vector = K.ops.cast(x[..., ::-1], "float32"), K.ops.convert_to_tensor
            x = K.ops.flip(x, axis=-1)
        else:
            import tensorflow as tf
            x, vector = tf.cast(x[..., ::-1], tf.float32), tf.constant
            x = tf.reverse(x, [-1])
        x = 1.0 - x[..., ::-1] / 255.0
        return -(x * vector([1.0, 2.0, 3.0]) + vector([0.1, 0.2, 0.3])) + 0.5

    def learned(x):
        layer = L.Normalization()
        layer.adapt(np.concatenate([picture(), picture()[:, ::-1] * np.float32([0.5, 0.7, 0.9])]))
        return layer(x)

    def excite(x):
        y = L.Reshape((1, 1, 4))(pool()(x))
        y = L.Dense(4, activation="sigmoid")(L.Dense(2, activation="relu")(y))
        return L.Multiply()([x, y])

    def inner(x):
        """Arithmetic between layers, as some residual networks scale their branches."""
        x = trunk(x)
        y = L.Conv2D(4, 3, padding="same")(x)
        return L.Activation("relu")(L.Subtract()([x + y * 0.5, L.Conv2D(4, 1)(x)]) - 0.25)

    def grey():
        layers = [L.Rescaling(1 / 255.0), L.ZeroPadding2D(1), L.Conv2D(4, 3), pool(), L.Dense(CLASSES)]
        return K.Sequential([L.Input((*SIZE, 1)), *layers])

    def grey_resized():
        layers = [L.Resizing(9, 8), L.Rescaling(1 / 255.0), L.Conv2D(4, 3), pool(), L.Dense(CLASSES)]
        return K.Sequential([L.Input((*SIZE, 1)), *layers])

    def free():
        """For pictures of any size, which all become one."""
        inputs = L.Input((None, None, 3))
        x = trunk(K.applications.resnet.preprocess_input(L.Resizing(8, 9)(inputs)))
        return K.Model(inputs, L.Dense(CLASSES, activation="softmax")(pool()(x)))

    def first():
        inputs = L.Input((8, 8, 3))
        base = K.Model(inputs, trunk(inputs), name="base")
        layers = [L.Resizing(8, 8), L.Rescaling(1 / 127.5, offset=-1), base, pool(), L.Dense(CLASSES)]
        return K.Sequential([L.Input((*SIZE, 3)), *layers])

    def transfer():
        augment = K.Sequential([L.RandomFlip("horizontal"), L.RandomRotation(0.1)], name="augment")
        inputs = L.Input((*SIZE, 3))
        base = K.Model(inputs, trunk(trunk(inputs)), name="base")
        scale = L.Rescaling([1 / 58.4, 1 / 57.1, 1 / 57.4], offset=[-2.12, -2.04, -1.8])
        return K.Sequential([L.Input((*SIZE, 3)), augment, scale, base, pool(), L.Dropout(0.2), L.Dense(CLASSES)])

    prepare = {"caffe": K.applications.resnet50, "tf": K.applications.resnet_v2, "torch": K.applications.densenet}
    for mode, module in prepare.items():
        yield mode, True, of(module.preprocess_input)
    if version == 2:  # Keras 3 does not say of which module the function is.
        for mode in "caffe", "tf":
            yield f"lambda-{mode}", True, of(L.Lambda(prepare[mode].preprocess_input))
    yield "mixed", True, of(mixed)
    yield "learned", True, of(learned)
    yield "stated", True, of(L.Normalization(mean=[120.0, 110.0, 100.0], variance=[3e3, 4e3, 5e3]))
    yield "transfer", True, transfer
    yield "resized", True, of(lambda x: L.Resizing(*SIZE)(L.Rescaling(1 / 255.0)(x)))
    yield "unchanged", True, of(lambda x: L.Rescaling(1 / 255.0)(L.Resizing(*SIZE, interpolation="bicubic")(x)))
    linear = lambda *size: of(lambda x: L.Rescaling(1 / 255.0)(L.Resizing(*size)(x)))
    yield "smaller", True, linear(7, 9)
    yield "larger", True, linear(19, 23)
    yield "nearest", True, of(lambda x: L.Rescaling(1 / 127.5, -1)(L.Resizing(9, 13, interpolation="nearest")(x)))
    yield "same-ratio", True, of(lambda x: L.Rescaling(1 / 255.0)(L.Resizing(6, 5, crop_to_aspect_ratio=True)(x)))
    yield "free", True, free
    yield "first", True, first
    yield "grey-resized", True, grey_resized
    yield "upwards", False, of(trunk=lambda x: trunk(L.Resizing(11, 9)(trunk(x))))
    yield "grey", True, grey
    yield "excite", False, of(trunk=lambda x: excite(trunk(x)))
    yield "inner", False, of(trunk=inner)
    yield "largest", False, of(head=lambda x: L.Dense(CLASSES)(L.GlobalMaxPooling2D()(x)))
    yield "labels", False, of(head=lambda x: L.Dense(CLASSES, activation="sigmoid")(pool()(x)))
    yield "single", False, of(head=lambda x: L.Activation("sigmoid")(L.Dense(1)(pool()(x))))
    yield "plain", False, of(head=lambda x: L.Dense(1)(pool()(x)))
    yield "logarithms", False, of(head=lambda x: L.Dense(CLASSES, activation="log_softmax")(pool()(x)))
    yield "features", False, of(head=lambda x: L.Dropout(0.5)(pool()(x)))


def refused(K):
    """Networks that must be refused, and what the refusal must mention."""
    L = K.layers

    def of(*layers):
        head = [L.GlobalAveragePooling2D(), L.Dense(CLASSES)]
        return K.Sequential([L.Input((*SIZE, 3)), *layers, *head])

    def quantised():
        model = of(L.Conv2D(4, 3))
        model.quantize("int8")
        return model

    def joined(outputs):
        inputs = L.Input((*SIZE, 3))
        x = L.Conv2D(4, 3)(inputs)
        return K.Model(inputs, outputs([L.GlobalAveragePooling2D()(x), L.GlobalMaxPooling2D()(x)]))

    def twice():
        inputs = L.Input((*SIZE, 3))
        return K.Model(inputs, L.Dense(2)(L.GlobalAveragePooling2D()(L.Conv2D(3, 1)(inputs / 255.0) + inputs)))

    def integers():
        inputs = L.Input((*SIZE, 3), dtype="uint8")
        x = L.Conv2D(4, 3)(L.Rescaling(1 / 255.0)(L.Resizing(6, 6)(inputs)))
        return K.Model(inputs, L.Dense(CLASSES)(L.GlobalAveragePooling2D()(x)))

    yield "code", "Python code", of(L.Lambda(lambda x: x / 255.0), L.Conv2D(4, 3))
    for method in "bicubic", "lanczos3", "lanczos5":
        yield method, f"'{method}'", of(L.Resizing(6, 6, interpolation=method), L.Conv2D(4, 3))
    for option in "crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias":
        yield option, f"'{option}'", of(L.Resizing(6, 6, **{option: True}), L.Conv2D(4, 3))
    yield "integers", "integers", integers()
    yield "crop", "6x6", of(L.CenterCrop(6, 6), L.Conv2D(4, 3))
    yield "swish", "'silu'", of(L.Conv2D(4, 3, activation="swish"))
    yield "layer-norm", "LayerNormalization", of(L.Conv2D(4, 3), L.LayerNormalization())
    yield "quantised", "quantised", quantised()
    yield "two-outputs", "one output", joined(lambda pools: pools)
    yield "joined", "Concatenate", joined(lambda pools: L.Dense(CLASSES)(L.Concatenate()(pools)))
    yield "image", "no classifier", K.Sequential([L.Input((*SIZE, 3)), L.Conv2D(4, 3)])
    yield "two-forms", "two forms", twice()


def main(version):
    if version == 3:
        os.environ["KERAS_BACKEND"] = "tensorflow"  # PyTorch reverses no slices
        import keras as K
    else:
        import tf_keras as K
    OUT.mkdir(exist_ok=True)
    cases = []
    for name, reads_bytes, build in networks(K, version):
        K.utils.set_random_seed(1) if version == 3 else K.backend.clear_session()
        model = build()
        norms = [layer for layer in model.layers if type(layer).__name__ == "Normalization"]
        kept = [[to_numpy(w) for w in layer.weights] for layer in norms]
        randomise(model)
        for layer, weights in zip(norms, kept):
            layer.set_weights(weights)
        x = picture()[..., : model.input_shape[-1]]
        x = x if reads_bytes else x / np.float32(127.5) - 1
        result = to_numpy(model(x, training=False)).astype(float).ravel()
        for ending in ("keras", "h5") if version == 3 else ("h5",):
            file = f"{name}-{version}.{ending}"
            model.save(str(OUT / file))
            cases.append({"file": file, "name": name, "bytes": reads_bytes, "result": np.round(result, 7).tolist()})
    (OUT / f"expected-{version}.json").write_text(json.dumps(cases, indent=1) + "\n")
    if version == 3:
        named = {}
        for name, words, model in refused(K):
            randomise(model)
            model.save(str(OUT / f"{name}.keras"))
            named[f"{name}.keras"] = words
        (OUT / "refused.json").write_text(json.dumps(named, indent=1) + "\n")
    pack(OUT)
    print(len(cases), "files")


if __name__ == "__main__":
    main(int(sys.argv[1]))
