"""Train one recipe of `recipes.json`: `python pretrain.py RUN NAME [--seconds S] [--until STEP]`.

Writes RUN/NAME/ (last weights) and RUN/NAME-mean/ (their moving average), each a Hugging Face folder, and
RUN/NAME/log.jsonl. Every 400 steps, and where `--until` stops it, the run is written to RUN/NAME/checkpoint/; started
again, it goes on from there (see `checkpoint.py` for what is kept). `--seconds` makes the schedule end by the
clock where the machine is too slow for the steps of the recipe; the steps done are logged.
"""

import argparse
import json
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F

import checkpoint
import model as llama
from corpus import RECASTS
from data import Source, batch_of, whole

HERE = pathlib.Path(__file__).parent
DEFAULTS = dict(
    seed=0, steps=3000, tokens=65536, dropout=0.1, decay=0.1, rate=0.02, rate_rest=0.002, cooldown=0.5,
    soft=0.0, mean=0.995, recasts=RECASTS,
    first={"tinystories": 0.30, "storybooks": 0.02, "publicdomain": 0.68},
    last={"tinystories": 0.55, "storybooks": 0.02, "publicdomain": 0.43},
)


def files_of(run: pathlib.Path, part: str, recasts: int = RECASTS) -> list[pathlib.Path]:
    """The training files of one part; the small stories come with `recasts` recast copies."""
    names = [f"train-{part}"]
    if part == "tinystories":
        names += [f"train-recast{i}" for i in range(recasts)]
    return [run / "tokens" / f"{n}.npz" for n in names]


def hard_loss(hidden, embedding, following):
    """Mean cross-entropy in nats."""
    return F.cross_entropy(F.linear(hidden, embedding).float(), following)


def soft_loss(hidden, embedding, following, likely, chance, soft):
    """Cross-entropy to the teachers' K likeliest tokens [N, K] and one bucket for the rest, mixed with
    that to the true next token."""
    logits = F.linear(hidden, embedding).float()
    log_p = logits - torch.logsumexp(logits, -1, keepdim=True)
    top = log_p.gather(1, likely.long())
    chance = chance.float()
    rest = (1 - chance.sum(1)).clamp_min(0)
    log_rest = (1 - top.exp().sum(1)).clamp_min(1e-6).log()
    to_teachers = -((chance * top).sum(1) + rest * log_rest).mean()
    to_text = -log_p.gather(1, following[:, None]).mean()
    return soft * to_teachers + (1 - soft) * to_text


@torch.no_grad()
def nats(model, path, device) -> float:
    """Nats per token over every story of a file, end tokens included."""
    model.eval()
    total, count = 0.0, 0
    with torch.compiler.set_stance("force_eager"), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        for batch, items in whole(path, device, 16384 if device == "cuda" else 1024):
            logits = model.logits(model(batch))
            total += F.cross_entropy(logits, batch.next, reduction="sum").item()
            count += len(items)
    model.train()
    return total / count


class Mix:
    """Batches with a share of each part that moves from `first` to `last` as the rate cools down."""

    def __init__(self, run, recipe, seed, device):
        self.recipe, self.device = recipe, device
        self.parts = list(recipe["first"])
        soft = recipe["soft"] > 0
        self.sources = [Source(files_of(run, p, recipe["recasts"]), seed * 100 + i, shift=not soft) for i, p in enumerate(self.parts)]
        self.offset = np.cumsum([0] + [len(s.ids) for s in self.sources[:-1]])
        self.likely = self.chance = None
        if soft:
            load = lambda kind, p: torch.from_numpy(np.load(run / "soft" / f"{p}.{kind}.npy"))
            self.likely = torch.cat([load("likely", p).view(torch.int16).to(device) for p in self.parts])
            self.chance = torch.cat([load("chance", p).to(device) for p in self.parts])

    def next(self, cool: float):
        n = self.recipe["tokens"]
        share = [(1 - cool) * self.recipe["first"][p] + cool * self.recipe["last"][p] for p in self.parts]
        counts = np.diff(np.round(np.cumsum([0] + share) / sum(share) * n).astype(int))
        ids, following, bounds, places, at = [], [], [], [], 0
        for source, count, offset in zip(self.sources, counts, self.offset):
            items, cuts = source.take(count)
            ids.append(source.ids[items])
            following.append(source.ids[items + 1])
            bounds.append(cuts + at)
            places.append(items + offset)
            at += count
        batch = batch_of(*map(np.concatenate, (ids, following, bounds)), self.device, room=n // 24)
        if self.likely is None:
            return batch, None
        items = torch.from_numpy(np.concatenate(places)).to(self.device)
        return batch, (self.likely[items], self.chance[items])


def moments(optimizer, names: dict) -> dict:
    """An optimizer's state as tensors by "parameter/key"; `names` maps parameters to names."""
    return {f"{names[p]}/{k}": torch.as_tensor(v) for p, state in optimizer.state.items() for k, v in state.items()}


def set_moments(optimizer, names: dict, tensors: dict) -> None:
    for group in optimizer.param_groups:
        for p in group["params"]:
            prefix = names[p] + "/"
            state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            # AdamW counts its steps in a tensor that stays on the host unless it is fused.
            optimizer.state[p] = {k: v.to(p.device) if v.ndim or group.get("fused") else v for k, v in state.items()}


def main(argv=None):
    args = argparse.ArgumentParser()
    args.add_argument("run", type=pathlib.Path)
    args.add_argument("name")
    args.add_argument("--seconds", type=float, default=math.inf)
    args.add_argument("--until", type=int, default=None)
    args.add_argument("--recipes", type=pathlib.Path, default=HERE / "recipes.json")
    args = args.parse_args(argv)
    recipe = DEFAULTS | json.loads(args.recipes.read_text())[args.name]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(recipe["seed"])
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.recompile_limit = 64
    out = args.run / args.name
    out.mkdir(parents=True, exist_ok=True)

    fields = {k: recipe[k] for k in ("hidden", "layers", "heads", "kv_heads", "inner", "vocab") if k in recipe}
    net = llama.Llama(llama.Shape(**fields), recipe["dropout"])
    kept = checkpoint.load(out / "checkpoint")
    weights, rest, progress = kept or ({}, {}, {"step": 0, "seconds": 0.0})
    if weights:
        net.load_state_dict(weights)
    step = progress["step"]
    net.to(device).train()
    of = lambda kind: {k.removeprefix(kind + "/"): v for k, v in rest.items() if k.startswith(kind + "/")}
    old = of("mean") or net.state_dict()
    mean = {k: old[k].detach().to(device, copy=True) for k in net.state_dict()}

    named = dict(net.named_parameters())
    matrices = [p for n, p in named.items() if p.ndim == 2 and "embed" not in n]
    muon = llama.Muon(matrices, recipe["rate"], recipe["decay"])
    adam = torch.optim.AdamW(
        [
            {"params": [named["model.embed_tokens.weight"]], "weight_decay": recipe["decay"]},
            {"params": [p for p in named.values() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=recipe["rate_rest"], betas=(0.9, 0.95), fused=device == "cuda",
    )
    names = {p: n for n, p in named.items()}
    if rest:
        set_moments(muon, names, of("muon"))
        set_moments(adam, names, of("adam"))
    losses = [hard_loss, soft_loss]
    if device == "cuda":
        for layer in net.model.layers:
            layer.compile()
        losses = [torch.compile(f) for f in losses]
        llama.orthogonal = torch.compile(llama.orthogonal)
    mix = Mix(args.run, recipe, recipe["seed"] + (0 if rest else 1000 * step), device)
    if rest:
        for source, state in zip(mix.sources, progress["sources"]):
            source.restore(state)
        torch.set_rng_state(rest["random/host"])
        if device == "cuda":
            torch.cuda.set_rng_state(rest["random/cuda"])
    embedding = net.model.embed_tokens.weight
    log = open(out / "log.jsonl", "a")

    def report(**entry):
        log.write(json.dumps(entry) + "\n")
        log.flush()
        print(args.name, entry, flush=True)

    def validate(tag):
        paths = {p: args.run / "tokens" / f"val-{p}.npz" for p in ("tinystories", "publicdomain")}
        report(step=step, tag=tag, **{p: round(nats(net, f, device), 4) for p, f in paths.items()})

    def keep():
        rest = {f"mean/{k}": v for k, v in mean.items()}
        for kind, optimizer in (("muon", muon), ("adam", adam)):
            rest |= {f"{kind}/{k}": v for k, v in moments(optimizer, names).items()}
        rest["random/host"] = torch.get_rng_state()
        if device == "cuda":
            rest["random/cuda"] = torch.cuda.get_rng_state()
        checkpoint.save(out / "checkpoint", net.state_dict(), rest, {
            "step": step, "seconds": time.time() - start, "sources": [s.state() for s in mix.sources],
        })

    begin = time.time()
    start = begin - progress["seconds"]
    while step < recipe["steps"]:
        if step == args.until:
            keep()
            return
        done = max(step / recipe["steps"], (time.time() - start) / args.seconds)
        if done >= 1:
            break
        cool = max(0.0, (done - 1 + recipe["cooldown"]) / recipe["cooldown"])
        rate = min(1.0, (step + 1) / 100) * (1 - cool)
        for group in muon.param_groups:
            group["lr"] = recipe["rate"] * rate
        for group in adam.param_groups:
            group["lr"] = recipe["rate_rest"] * rate
        batch, targets = mix.next(cool)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            hidden = net(batch)
            if targets is None:
                loss = losses[0](hidden, embedding, batch.next)
            else:
                loss = losses[1](hidden, embedding, batch.next, *targets, recipe["soft"])
        loss.backward()
        muon.step()
        adam.step()
        net.zero_grad(set_to_none=True)
        step += 1
        torch._foreach_lerp_(list(mean.values()), list(net.state_dict().values()), 1 - min(recipe["mean"], step / (step + 10)))
        if step == 3:  # compiling is over
            start = time.time()
        if step % 100 == 0:
            report(step=step, loss=round(loss.item(), 4), done=round(done, 3), seconds=round(time.time() - begin, 1))
        if step % 400 == 0:
            validate("last")
            keep()

    validate("last")
    llama.save(net, out, torch.float32)
    net.load_state_dict(mean)
    validate("mean")
    llama.save(net, args.run / f"{args.name}-mean", torch.float32)
    checkpoint.remove(out / "checkpoint")


if __name__ == "__main__":
    main()
