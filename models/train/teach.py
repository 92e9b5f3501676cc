"""What the teachers know, written down for the student.

`python teach.py label RUN TEACHER...`            RUN/soft/PART.{likely,chance}.npy: per training token the K
                                                  likeliest next tokens of the ensemble and their chances
`python teach.py judge RUN TEACHER...`            the ensemble's own validation losses

An ensemble's chance is the mean of its members' chances.
"""

import json
import pathlib
import sys

import numpy as np
import torch

import corpus
import model as llama
from data import whole
from pretrain import files_of

K = 64
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def teachers_of(run: pathlib.Path, names: list[str]) -> list[llama.Llama]:
    return [llama.load(run / n).to(DEVICE).eval() for n in names]


@torch.no_grad()
def chances(nets, batch):
    with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
        return sum(n.logits(n(batch)).softmax(-1) for n in nets) / len(nets)


def label(run: pathlib.Path, names: list[str], parts=corpus.PARTS) -> None:
    nets = teachers_of(run, names)
    (run / "soft").mkdir(exist_ok=True)
    for part in parts:
        likely, chance = [], []
        for path in files_of(run, part):
            for batch, _ in whole(path, DEVICE, 32768):
                top = chances(nets, batch).topk(K, -1)
                likely.append(top.indices.to(torch.int16).cpu())
                chance.append(top.values.half().cpu())
            # The last end token of a file starts nothing; its row keeps places and rows in step.
            likely.append(torch.zeros(1, K, dtype=torch.int16))
            chance.append(torch.zeros(1, K, dtype=torch.float16))
        np.save(run / "soft" / f"{part}.likely.npy", torch.cat(likely).numpy())
        np.save(run / "soft" / f"{part}.chance.npy", torch.cat(chance).numpy())
        print("labelled", part, sum(map(len, likely)), flush=True)


def judge(run: pathlib.Path, names: list[str]) -> None:
    nets = teachers_of(run, names)
    result = {}
    for part in ("tinystories", "publicdomain"):
        total, count = 0.0, 0
        for batch, items in whole(run / "tokens" / f"val-{part}.npz", DEVICE, 16384):
            total -= chances(nets, batch).gather(1, batch.next[:, None]).log().sum().item()
            count += len(items)
        result[part] = round(total / count, 4)
    print(json.dumps({"ensemble": names} | result), flush=True)


if __name__ == "__main__":
    command, run, *rest = sys.argv[1:]
    {"label": label, "judge": judge}[command](pathlib.Path(run), rest)
