"""Packed stories -> batches."""

import pathlib

import numpy as np
import torch

from model import Batch


class Source:
    """Stories of one kind, read in a fresh order each epoch, for ever.

    Longer stories are cut to `context` tokens. With `shift` the cuts fall elsewhere in every epoch, without
    it they stay, as stored soft targets need. An item is a token's place in `ids`; `ids[place + 1]` follows it.
    """

    def __init__(self, files: list[pathlib.Path], seed: int, context: int = 512, shift: bool = True):
        loaded = [np.load(f) for f in files]
        sizes = [len(f["ids"]) for f in loaded]
        base = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self.ids = np.concatenate([f["ids"] for f in loaded])
        self.begin = np.concatenate([f["starts"][:-1] + b for f, b in zip(loaded, base)])
        self.length = np.concatenate([np.diff(f["starts"]) for f in loaded])
        self.context, self.shift = context, shift
        self.rng = np.random.default_rng(seed)
        self.items, self.cuts, self.at = np.zeros(0, np.int64), np.zeros(1, np.int64), 0
        self.before = self.rng.bit_generator.state  # as it was when the present epoch was drawn

    def pieces(self, shift: bool) -> tuple[np.ndarray, np.ndarray]:
        """(begin, length) of every piece of at most `context` tokens."""
        first = np.minimum(self.length, self.context)
        if shift:
            long = self.length > self.context
            first = np.where(long, self.rng.integers(1, self.context + 1, len(first)), first)
        more = -(-(self.length - first) // self.context)
        count = more + 1
        story = np.repeat(np.arange(len(count)), count)
        nth = np.arange(len(story)) - np.repeat(np.cumsum(count) - count, count)
        offset = np.where(nth == 0, 0, first[story] + (nth - 1) * self.context)
        end = np.minimum(first[story] + nth * self.context, self.length[story])
        return self.begin[story] + offset, end - offset

    def draw(self) -> None:
        """Begin a new epoch."""
        self.before = self.rng.bit_generator.state
        begin, length = self.pieces(self.shift)
        order = self.rng.permutation(len(begin))
        begin, length = begin[order], length[order]
        self.cuts = np.concatenate([[0], np.cumsum(length)])
        self.items = np.repeat(begin - self.cuts[:-1], length) + np.arange(self.cuts[-1])
        self.at = 0

    def state(self) -> dict:
        """What `restore` needs to go on from here; plain JSON."""
        return {"rng": self.before, "at": int(self.at), "drawn": len(self.items) > 0}

    def restore(self, state: dict) -> None:
        self.rng.bit_generator.state = state["rng"]
        if state["drawn"]:
            self.draw()
        self.at = state["at"]

    def take(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The next n items, and where in them pieces begin."""
        out, bounds, got = [], [], 0
        while got < n:
            if self.at == len(self.items):
                self.draw()
            m = min(n - got, len(self.items) - self.at)
            lo, hi = np.searchsorted(self.cuts, [self.at + 1, self.at + m])
            bounds.append(np.concatenate([[0], self.cuts[lo:hi] - self.at]) + got)
            out.append(self.items[self.at : self.at + m])
            self.at += m
            got += m
        return np.concatenate(out), np.concatenate(bounds)


def batch_of(ids, following, bounds, device, room: int | None = None, longest: int = 512) -> Batch:
    """Arrays -> Batch; `room` fixes the length of `bounds` so that compiled code sees one shape."""
    n = len(ids)
    place = np.arange(n) - np.repeat(bounds, np.diff(np.append(bounds, n)))
    padded = np.full(room or len(bounds) + 1, n, np.int32)
    padded[: len(bounds)] = bounds
    to = lambda a, t: torch.from_numpy(a.astype(t)).to(device, non_blocking=True)
    return Batch(to(ids, np.int64), to(following, np.int64), to(place, np.int64), to(padded, np.int32), longest)


def whole(path: pathlib.Path, device, tokens: int = 65536):
    """Every story of a file once, in order: yields (Batch, items) of at most about `tokens` tokens."""
    source = Source([path], 0)
    begin, length = source.pieces(False)
    lo = 0
    while lo < len(begin):
        hi = lo + max(1, int(np.searchsorted(np.cumsum(length[lo:]), tokens)))
        bounds = np.concatenate([[0], np.cumsum(length[lo : hi - 1])])
        items = np.arange(begin[lo], begin[hi - 1] + length[hi - 1])
        yield batch_of(source.ids[items], source.ids[items + 1], bounds, device), items
        lo = hi
