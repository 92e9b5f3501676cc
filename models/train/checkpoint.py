"""A training run on disk, in parts of at most 16 MiB.

`weights-N.safetensors` hold the float32 weights (57 MB for the shipped model), `rest-N.safetensors` their moving
average, the optimizers' moments and the random states, `progress.json` the step, the seconds so far and where each
source of stories stands. With all of them a run goes on as if it had not stopped, bit for bit on one machine; with
the weights and `progress.json` alone it goes on with new moments, a new average and freshly shuffled stories.
"""

import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

PART = 16 * 2**20 - 65536  # room for the header


def parts_of(tensors: dict[str, torch.Tensor], limit: int = PART) -> list[dict[str, torch.Tensor]]:
    """The tensors in order, cut into groups of at most `limit` bytes; one larger tensor is an error."""
    parts, room = [], 0
    for name, tensor in tensors.items():
        if tensor.nbytes > limit:
            raise ValueError(f"{name}: {tensor.nbytes} bytes do not fit into a part of {limit}")
        if not parts or tensor.nbytes > room:
            parts.append({})
            room = limit
        parts[-1][name] = tensor.detach().to("cpu", copy=True).contiguous()
        room -= tensor.nbytes
    return parts


def save(folder: pathlib.Path, weights: dict, rest: dict, progress: dict) -> None:
    """Write everything beside `folder`, then put it in its place; an interruption leaves the older one whole."""
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for kind, tensors in (("weights", weights), ("rest", rest)):
        for i, part in enumerate(parts_of(tensors)):
            save_file(part, new / f"{kind}-{i}.safetensors")
    (new / "progress.json").write_text(json.dumps(progress) + "\n")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load(folder: pathlib.Path) -> tuple[dict, dict, dict] | None:
    """(weights, rest, progress), `rest` empty where those files are missing, or None where nothing was saved."""
    if not folder.exists():
        folder = folder.with_name(folder.name + ".old")
    if not folder.exists():
        return None

    def of(kind):
        return {k: v for f in sorted(folder.glob(f"{kind}-*.safetensors")) for k, v in load_file(f).items()}

    return of("weights"), of("rest"), json.loads((folder / "progress.json").read_text())


def remove(folder: pathlib.Path) -> None:
    for suffix in ("", ".new", ".old"):
        shutil.rmtree(folder.with_name(folder.name + suffix), ignore_errors=True)
