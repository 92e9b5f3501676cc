"""Stories told by the command-line program, and figures about them.

`python sample.py NIBBLAMA MODEL OUT.jsonl [--prompts N] [--seeds FIRST:LAST] [FLAG...]` runs `NIBBLAMA generate MODEL`
for the first N prompts of `prompts.txt` and every seed, with further flags handed on (`--temperature 0.5`,
`--adapter DIR`), writes one JSON object a story and prints:

    ended       share of stories that ended by themselves within max_new_tokens
    repeated    share of 4-word runs in a story that stood in it before, mean over stories
    words       mean length, prompt included
"""

import argparse
import json
import pathlib
import subprocess

PROMPTS = (pathlib.Path(__file__).parent / "prompts.txt").read_text().splitlines()


def repeated(text: str, n: int = 4) -> float:
    """Share of the n-word runs that occurred before in the same text; 0 for a text of fewer words."""
    words = text.split()
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def tell(program: str, model: str, prompt: str, seed: int, flags: list[str]) -> dict:
    """One story: its text with the prompt, and how it ended."""
    command = [program, "generate", model, "--prompt", prompt, "--seed", str(seed), "--json", *flags]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"prompt": prompt, "seed": seed, "finish": told["finish"], "tokens": len(told["ids"]), "text": prompt + told["text"]}


def figures(stories: list[dict]) -> dict:
    share = lambda values: round(sum(values) / len(stories), 4)
    return {
        "stories": len(stories),
        "ended": share(s["finish"] == "eos" for s in stories),
        "repeated": share(repeated(s["text"]) for s in stories),
        "words": share(len(s["text"].split()) for s in stories),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--seeds", default="0:5")
    args, flags = parser.parse_known_args()
    first, last = map(int, args.seeds.split(":"))
    stories = []
    with open(args.out, "w") as out:
        for prompt in PROMPTS[: args.prompts]:
            for seed in range(first, last):
                stories.append(tell(args.program, args.model, prompt, seed, flags))
                out.write(json.dumps(stories[-1]) + "\n")
    print(json.dumps(figures(stories)))


if __name__ == "__main__":
    main()
