"""Classifies and embeds any number of images with Ray Data: a folder or Parquet in, Parquet out.

    pip install ./crates/python "ray[data]"
    python examples/ray_batch.py photos/ answers/ --weights resnet50.safetensors --actors 2

Parquet has the columns `path` and `bytes`. The answers have `path`, `label`, `probability`, `probabilities`,
`embedding`, and `error` for an image that could not be read. Ray is started on this machine, beside any other
cluster on it; to use one add `--address auto`, and give weights that every node has: a shared path, or
`hf:owner/name`.

An actor with a GPU (`--gpus 1`) runs on the adapter that Ray gave it, if that is NVIDIA's, otherwise on the best
one; an actor without runs on the CPU, with as many threads as Ray reserved for it (`--cpus`). It holds the
network, and `--batch` images at a time. Actors may have all cores: what reads and writes files waits for none.
"""

import argparse
import pathlib

import numpy as np
import ray
from resnet_wgpu import Network, cuda_adapter


class Model:
    def __init__(self, weights: str) -> None:
        given = ray.get_runtime_context().get_assigned_resources()
        threads = max(1, int(given.get("CPU", 1)))
        on = {"device": cuda_adapter()} if given.get("GPU") else {"backend": "cpu"}
        self.network = Network.open(weights, threads=threads, **on)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = self.network.predict(batch["bytes"], errors="return")
        best = [top[0] if isinstance(top, list) else None for top in answers.top(1)]
        return {
            "path": batch["path"],
            "label": np.array([guess and guess.label for guess in best], object),
            "probability": np.array([guess.probability if guess else np.nan for guess in best]),
            "probabilities": answers.probabilities,
            "embedding": answers.embeddings,
            "error": np.array([error and str(error) for error in answers.errors], object),
        }


def answers_of(
    images: str, weights: str, *, model: type = Model, actors: int = 1, cpus: float = 1, gpus: float = 0, batch: int = 64
) -> ray.data.Dataset:
    """The answers to the images of a folder or of Parquet files, on this many actors."""
    if any(pathlib.Path(images).glob("*.parquet")) or images.endswith(".parquet"):
        dataset = ray.data.read_parquet(images, columns=["path", "bytes"], num_cpus=0, concurrency=actors)
    else:
        dataset = ray.data.read_binary_files(images, include_paths=True, num_cpus=0, concurrency=actors)
    return dataset.map_batches(
        model,
        fn_constructor_kwargs={"weights": weights},
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=cpus,
        num_gpus=gpus,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="a folder of images, or Parquet with `path` and `bytes`")
    parser.add_argument("output", help="a folder for Parquet files")
    parser.add_argument("--weights", required=True, help="a file that every node has, or hf:owner/name")
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--cpus", type=float, default=1, help="of each actor")
    parser.add_argument("--gpus", type=float, default=0, help="of each actor")
    parser.add_argument("--batch", type=int, default=64, help="images that an actor gets at a time")
    parser.add_argument("--address", default="local", help="of a cluster, such as `auto`; `local` starts Ray here")
    args = parser.parse_args()
    ray.init(address=args.address)
    answers = answers_of(
        args.images, args.weights, actors=args.actors, cpus=args.cpus, gpus=args.gpus, batch=args.batch
    )
    answers.write_parquet(args.output, ray_remote_args={"num_cpus": 0}, concurrency=args.actors)


if __name__ == "__main__":
    main()
