"""How much of a text stands in the training text: `python overlap.py TEXTS FILE`.

Prints, for runs of 6, 8 and 13 words (lower case, punctuation dropped), the share of FILE's runs that occur
anywhere in the training texts, and the longest run in common.
"""

import pathlib
import re
import sys

import corpus


def words_of(story: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", story.lower())


def runs_of(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def share(held: list[list[str]], training: list[list[str]], n: int) -> tuple[int, int]:
    """(runs of n words of `held` that occur in `training`, runs of n words of `held`)."""
    wanted = {run for words in held for run in runs_of(words, n)}
    seen = set()
    for words in training:
        seen.update(wanted.intersection(runs_of(words, n)))
    runs = [run for words in held for run in runs_of(words, n)]
    return sum(run in seen for run in runs), len(runs)


def main():
    texts, file = map(pathlib.Path, sys.argv[1:])
    held = [words_of(s) for s in corpus.stories_of(file.read_text())]
    training = [words_of(s) for part in corpus.PARTS for s in corpus.read(texts, "train", part)]
    for n in (6, 8, 13):
        common, all_ = share(held, training, n)
        print(f"runs of {n} words: {common} of {all_} in the training text, {100 * common / all_:.2f} %")
    longest = 13
    while share(held, training, longest)[0]:
        longest += 1
    while longest and not share(held, training, longest)[0]:
        longest -= 1
    print(f"longest run in common: {longest} words")


if __name__ == "__main__":
    main()
