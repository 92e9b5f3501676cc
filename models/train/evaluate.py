"""Losses of finished models: `python evaluate.py TEXTS SPLIT PART MODEL...`, each MODEL a folder with its tokenizer.

Nats per token count the end token of each story, and longer stories are read in pieces of 512 tokens; bits
per character divide the same sum by the characters of the stories, so models with other tokenizers compare.
"""

import math
import pathlib
import sys
import tempfile

import numpy as np
import torch
from tokenizers import Tokenizer

import corpus
import model
import pretrain


def main():
    texts, split, part, *folders = sys.argv[1:]
    stories = corpus.read(pathlib.Path(texts), split, part)
    characters = sum(map(len, stories))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for folder in map(pathlib.Path, folders):
        packed = corpus.pack_stories(Tokenizer.from_file(str(folder / "tokenizer.json")), stories)
        with tempfile.TemporaryDirectory() as scratch:
            path = pathlib.Path(scratch) / "packed.npz"
            np.savez(path, **packed)
            nats = pretrain.nats(model.load(folder).to(device), path, device)
        tokens = len(packed["ids"]) - 1
        bits = nats * tokens / characters / math.log(2)
        print(f"{folder.name} {split}-{part}: {nats:.4f} nats per token, {bits:.4f} bits per character")


if __name__ == "__main__":
    main()
