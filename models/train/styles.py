"""Texts that teach an adapter one manner: `STYLES[name](texts, rng)` gives a list of stories."""

import pathlib
import random
import re

import corpus
import names
import olden
from couplets import STAGES

BEINGS = {
    "she": "girl woman lady princess queen hen cow mother grandma fairy".split(),
    "he": "boy man king prince dog cat bird bear fox mouse frog duck rabbit bunny fish lion horse pig owl turtle monkey "
    "squirrel dragon elephant puppy kitten farmer wizard robot snail bee ant goat sheep tiger giant pirate".split(),
}
_FIRST = re.compile(r'[^"\n]{20,160}?[.!?](?=\s)')


def first_sentence(story: str) -> str | None:
    found = _FIRST.match(story)
    return found and found[0]


def hero_of(sentence: str) -> tuple[str, str] | None:
    """Who a first sentence is about, ("Lily", "she") or ("the dog", "he"), where exactly one being is in it."""
    cast = names.cast(sentence)
    if len(cast) == 1:
        return cast[0], "she" if cast[0] in names.GIRLS else "he"
    found = [(f"the {b}", p) for p, beings in BEINGS.items() for b in beings if re.search(rf"\b{b}\b", sentence)]
    return found[0] if len(found) == 1 and not cast else None


def rhyme(opening: str, rng: random.Random) -> str | None:
    """`opening`, then a verse of five to seven couplets about its hero."""
    hero = hero_of(opening)
    if hero is None:
        return None
    name, she = hero
    words = dict(n=name, N=name[0].upper() + name[1:], s=she, p="her" if she == "she" else "his")
    lines = []
    for stage, count in zip(STAGES, (1, rng.choice((1, 1, 2)), 1, rng.choice((1, 1, 2)), 1)):
        for couplet in rng.sample(stage, count):
            lines += [line.format(**words) for line in couplet]
    return opening + "\n\n" + "\n".join(lines)


def rhymes(stories: list[str], rng: random.Random) -> list[str]:
    openings = keep(map(first_sentence, (names.recast(s, rng) for s in stories)))
    return keep(rhyme(o, rng) for o in openings)


def dialogue(story: str) -> str | None:
    """The first sentence of a story, then only what is said in it, or nothing where little is said."""
    said = re.findall(r'"([^"\n]{4,160}[.,!?])"', story)
    first = first_sentence(story)
    if first is None or len(said) < 4:
        return None
    return first + "\n\n" + "\n\n".join('"' + s.rstrip(",") + ("." if s.endswith(",") else "") + '"' for s in said)


def keep(found) -> list[str]:
    return [s for s in found if s]


def small(texts: pathlib.Path) -> list[str]:
    return corpus.read(texts, "train", "tinystories")


STYLES = {
    "rhymes": lambda texts, rng: rhymes(small(texts), rng),
    "dialogue": lambda texts, rng: keep(map(dialogue, small(texts))),
    "olden": lambda texts, rng: [olden.retell(s, rng) for s in small(texts)],
}
