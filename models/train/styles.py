"""Texts that teach an adapter one manner: `STYLES[name](texts, rng)` gives a list of stories."""

import pathlib
import random
import re

import corpus
import names

RHYMES = [
    "tree bee sea knee pea", "cat hat mat bat", "house mouse", "star car jar", "moon spoon balloon",
    "night light kite", "boat goat coat", "bed sled shed", "hill mill", "door floor", "rain train lane",
    "box fox", "ring king swing", "bear chair pear", "frog log dog", "cake lake snake", "snow crow",
    "clock sock rock", "wall ball", "nest chest", "pan van fan", "book brook hook", "duck truck",
]
FIRST = [
    "{n} went out to find a {a},", "{n} looked up and saw a {a},", "One day there was a little {a},",
    "{p} ran and jumped around the {a},", "{n} sat down beside a {a},", "{p} gave a hug to the big {a},",
]
SECOND = [
    "And there {q} met a funny {b}.", "And next to it {q} saw a {b}.", "And then {q} laughed and found a {b}.",
    "And in the sun there was a {b}.", "And home {q} came to see the {b}.", "And soon {q} had a bright new {b}.",
]
FRIENDS = ["bunny", "girl", "boy", "bird", "kitten", "puppy", "mouse", "duck"]


def rhyme(rng: random.Random) -> str:
    """An opening line, then six to ten lines in rhyming couplets."""
    girl = rng.random() < 0.5
    name = rng.choice(list(names.GIRLS if girl else names.BOYS))
    friend = rng.choice([f for f in FRIENDS if f != ("boy" if girl else "girl")])
    opening = rng.choice(["Once upon a time, there was a little {f} named {n}.", "One day, a {f} named {n} went out to play."])
    lines = [opening.format(f=friend, n=name)]
    for family in rng.sample(RHYMES, rng.randint(3, 5)):
        a, b = rng.sample(family.split(), 2)
        p = "She" if girl else "He"
        for line in (rng.choice(FIRST), rng.choice(SECOND)):
            lines.append(line.format(n=name, p=p, q=p.lower(), a=a, b=b))
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def dialogue(story: str) -> str | None:
    """The first sentence of a story, then only what is said in it, or nothing where little is said."""
    said = re.findall(r'"([^"\n]{4,160}[.,!?])"', story)
    first = re.match(r'[^"\n]{20,160}?[.!?](?=\s)', story)
    if first is None or len(said) < 4:
        return None
    return first[0] + "\n\n" + "\n\n".join('"' + s.rstrip(",") + ("." if s.endswith(",") else "") + '"' for s in said)


def keep(found) -> list[str]:
    return [s for s in found if s]


STYLES = {
    "rhymes": lambda texts, rng: [rhyme(rng) for _ in range(4000)],
    "dialogue": lambda texts, rng: keep(map(dialogue, corpus.read(texts, "train", "tinystories"))),
}
