"""QLoRA: `python adapters.py TEXTS BASE OUT [NAME...]` trains LoRA adapters on a bitsandbytes NF4 base.

For each style of `styles.py`: OUT/NAME/adapter_model.safetensors (bfloat16), adapter_config.json and
figures.json with the loss on stories kept back, before, on the way and after. The weights kept are those of the
step with the smallest such loss. BASE is what `nibblama quantize` wrote; a GPU is used where there is one.
"""

import json
import math
import pathlib
import random
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from tokenizers import Tokenizer

from styles import STYLES

RANK, ALPHA, STEPS, ROWS, LENGTH, RATE = 8, 16, 400, 24, 320, 1e-3
EVERY = 50
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def rows_of(tokenizer, stories):
    """Ids and labels [S, LENGTH]; padding is 0 with label -100, but each story's end token counts."""
    ids = torch.zeros(len(stories), LENGTH, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for i, story in enumerate(stories):
        row = torch.tensor((tokenizer.encode(story).ids + [0])[:LENGTH])
        ids[i, : len(row)] = row
        labels[i, 1 : len(row)] = row[1:]
    return ids, labels


@torch.no_grad()
def loss_of(model, ids, labels):
    model.eval()
    losses = [model(input_ids=i.to(DEVICE), labels=l.to(DEVICE)).loss.item() for i, l in zip(ids.split(16), labels.split(16))]
    model.train()
    return sum(losses) / len(losses)


def main():
    texts, base, out, *wanted = sys.argv[1:]
    base, out = pathlib.Path(base), pathlib.Path(out)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    for name in wanted or STYLES:
        rng = random.Random(name)
        stories = STYLES[name](pathlib.Path(texts), rng)
        rng.shuffle(stories)
        stories = stories[:6000]
        held = stories[: min(200, len(stories) // 20)]
        ids, labels = rows_of(tokenizer, stories[len(held):])
        held_rows = rows_of(tokenizer, held)
        model = AutoModelForCausalLM.from_pretrained(base, device_map=DEVICE, dtype=torch.bfloat16)
        figures = {"stories": len(stories), "held back": len(held), "rank": RANK, "alpha": ALPHA, "steps": STEPS}
        figures["before"] = round(loss_of(model, *held_rows), 4)
        torch.manual_seed(0)
        model = get_peft_model(model, LoraConfig(
            r=RANK, lora_alpha=ALPHA, lora_dropout=0.05, bias="none", task_type="CAUSAL_LM",
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
        trained = [p for p in model.parameters() if p.requires_grad]
        for p in trained:
            p.data = p.data.float()
        optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
        model.train()
        figures["on the way"], best = {}, math.inf
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 20) * (1 - step / STEPS)
            pick = torch.randint(len(ids), (ROWS,))
            with torch.autocast(DEVICE, torch.bfloat16):
                model(input_ids=ids[pick].to(DEVICE), labels=labels[pick].to(DEVICE)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if (step + 1) % EVERY == 0:
                loss = loss_of(model, *held_rows)
                figures["on the way"][step + 1] = round(loss, 4)
                print(name, step + 1, round(loss, 4), flush=True)
                if loss < best:
                    best, figures["kept"] = loss, step + 1
                    kept = [p.detach().clone() for p in trained]
        for p, k in zip(trained, kept):
            p.data = k.bfloat16()
        figures["after"] = round(loss_of(model, *held_rows), 4)
        folder = out / name
        model.save_pretrained(folder)
        weights = folder / "adapter_model.safetensors"
        save_file({k: v.bfloat16().contiguous() for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})
        config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": "stories-nf4"}
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
        (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
        (folder / "README.md").unlink(missing_ok=True)
        print(name, figures["stories"], figures["before"], "->", figures["after"], flush=True)


if __name__ == "__main__":
    main()
