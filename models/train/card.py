"""The parts of a card that a program writes: blocks between `<!-- begin NAME -->` and `<!-- end NAME -->`.

`python card.py sums FOLDER...`                  block `sums`: bytes and sha256 of every file beside the card
`python card.py samples FOLDER SEEDS OUT.jsonl...` block `samples`: the first SEEDS seeds of the first five prompts, as
                                                 `sample.py` wrote them; of two files the first is told without
                                                 the adapter, the second with it
"""

import hashlib
import json
import pathlib
import sys

PROMPTS = 5


def replace(card: pathlib.Path, name: str, text: str) -> None:
    """Put `text` in the place of a block; a card without that block is an error."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    old = card.read_text()
    if old.count(begin) != 1 or old.count(end) != 1:
        raise ValueError(f"{card}: expected one block {name!r}")
    head, rest = old.split(begin)
    card.write_text(head + begin + text + end + rest.split(end)[1])


def sums(folder: pathlib.Path) -> str:
    rows = ["| file | bytes | sha256 |", "| --- | ---: | --- |"]
    for file in sorted(f for f in folder.iterdir() if f.is_file() and f.name != "README.md"):
        data = file.read_bytes()
        rows.append(f"| `{file.name}` | {len(data):,} | `{hashlib.sha256(data).hexdigest()}` |")
    return "\n".join(rows) + "\n"


def quoted(story: dict) -> str:
    text = story["text"] + ("" if story["finish"] == "eos" else " [...]")
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def samples(seeds: int, files: list[pathlib.Path]) -> str:
    told = []
    for file in files:
        stories = [json.loads(line) for line in file.read_text().splitlines()]
        prompts = list(dict.fromkeys(s["prompt"] for s in stories))[:PROMPTS]
        told.append({(p, s["seed"]): s for p in prompts for s in stories if s["prompt"] == p})
    out = []
    for prompt in dict.fromkeys(p for p, _ in told[0]):
        for seed in range(seeds):
            for label, stories in zip(("without", "with"), told):
                words = f", {label} the adapter" if len(told) == 2 else ""
                out.append(f"Seed {seed}{words}:\n\n{quoted(stories[prompt, seed])}\n")
    return "\n".join(out)


def main():
    command, *rest = sys.argv[1:]
    if command == "sums":
        for folder in map(pathlib.Path, rest):
            replace(folder / "README.md", "sums", sums(folder))
    elif command == "samples":
        folder, seeds, *files = rest
        replace(pathlib.Path(folder) / "README.md", "samples", samples(int(seeds), [pathlib.Path(f) for f in files]))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
