"""Stories on disk -> token streams.

`python corpus.py tokenizer TEXTS RUN`   train the 4,096-entry byte-level BPE
`python corpus.py pack TEXTS RUN`        write RUN/tokens/*.npz

TEXTS holds `{train,val,test}-{part}.txt.xz`; each story ends with a line `<|endoftext|>`. A packed file
has `ids` (uint16, every story preceded and followed by one end token, which neighbours share) and
`starts` (int64, the place of the end token before each story, then the length less one).
"""

import lzma
import pathlib
import random
import sys

import numpy as np

import names

PARTS = ("tinystories", "storybooks", "publicdomain")
END = "<|endoftext|>"
VOCAB = 4096
RECASTS = 3


def read(texts: pathlib.Path, split: str, part: str) -> list[str]:
    """The stories of one file, without surrounding blank space."""
    with lzma.open(texts / f"{split}-{part}.txt.xz", "rt", encoding="utf-8") as f:
        return stories_of(f.read())


def stories_of(text: str) -> list[str]:
    """Cut a text at its `<|endoftext|>` lines."""
    return [s.strip() for s in text.split(END + "\n") if s.strip()]


def train_tokenizer(texts: pathlib.Path, run: pathlib.Path) -> None:
    """Byte-level BPE on the small stories and every sixth old one, about equal shares of characters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    text = read(texts, "train", "tinystories") + read(texts, "train", "storybooks")
    text += read(texts, "train", "publicdomain")[::6]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A $B:1", special_tokens=[(END, 0)]
    )
    run.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(run / "tokenizer.json"))


def pack_stories(tokenizer, stories: list[str]) -> dict[str, np.ndarray]:
    """Stories in the form described at the head of this file."""
    rows = [e.ids for e in tokenizer.encode_batch(stories)]  # each begins with the end token
    starts = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    ids = np.concatenate([np.asarray(r, np.uint16) for r in rows] + [np.zeros(1, np.uint16)])
    return {"ids": ids, "starts": starts}


def pack(texts: pathlib.Path, run: pathlib.Path) -> None:
    """Write every split and part; the small training stories also in recast copies."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    out = run / "tokens"
    out.mkdir(parents=True, exist_ok=True)
    jobs = {f"{s}-{p}": (s, p) for s in ("train", "val") for p in PARTS} | {"test-tinystories": ("test", "tinystories")}
    for name, (split, part) in jobs.items():
        stories = read(texts, split, part)
        packed = pack_stories(tokenizer, stories)
        packed["characters"] = np.int64(sum(map(len, stories)))
        np.savez_compressed(out / f"{name}.npz", **packed)
        print(f"{name}: {len(stories)} stories, {len(packed['ids'])} tokens")
    small = read(texts, "train", "tinystories")
    for copy in range(RECASTS):
        rng = random.Random(copy)
        np.savez_compressed(
            out / f"train-recast{copy}.npz", **pack_stories(tokenizer, [names.recast(s, rng) for s in small])
        )


if __name__ == "__main__":
    command, texts, run = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    {"tokenizer": train_tokenizer, "pack": pack}[command](texts, run)
