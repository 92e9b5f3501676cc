"""Give the children of a story other names, the same ones all through it.

Nine thousand stories name Lily 4,700 times and Clara 14 times, so a model that reads each story twenty
times learns the cast by heart. Each pass reads a recast copy instead. A girl becomes a girl and a boy
a boy, because the pronouns stay; common names stay the likelier ones, because a story is still judged
by how it was told.
"""

import random
import re

# name -> how often it opens no sentence in the training stories: the odds of being drawn.
GIRLS = dict(
    Lily=4727, Sue=1308, Lucy=859, Mia=688, Anna=462, Amy=393, Sally=372, Sara=344, Daisy=335, Jane=306,
    Sarah=282, Molly=169, Jill=148, Emma=133, Lila=120, Mary=113, Jen=95, Mimi=80, Bella=69, Emily=62,
    Susie=59, Jenny=59, Ella=56, Lisa=54, Polly=50, Luna=46, Elly=39, Grace=39, Rosie=38, Alice=36,
    Claire=34, Lulu=34, Sophie=34, Betty=33, Sandy=32, Lola=29, Liz=29, Lilly=28, Millie=27, Milly=26,
    Kate=26, Tina=25, Annie=23, Ann=23, Tilly=23, Mandy=20, Rachel=19, Dolly=18, Zara=18, Julie=17,
    Julia=17, Lizzie=16, Michelle=15, Abigail=14, Clara=14, Cindy=13, Tess=13, Abby=12, Maria=12, Ellie=12,
    Jenna=10, Ruby=9, Chloe=9, Eva=9, Sophia=9, Nora=9, Dora=9, Ana=8, Gemma=8, Maggie=7, Becky=7, Lydia=7,
    Zoe=6, Lena=6, Fiona=6, Maya=5,
)
BOYS = dict(
    Tim=3892, Tom=2453, Ben=1640, Max=1621, Timmy=1353, Sam=1338, Jack=576, Bob=545, Joe=245, Billy=217,
    John=216, Benny=162, Tommy=133, Andy=80, Jake=77, Leo=76, Jimmy=75, Sammy=72, Fred=67, Bobby=65,
    Pete=60, Jim=51, Peter=49, Jerry=48, Alex=42, Danny=34, Johnny=34, Toby=34, Freddy=29, Bill=28,
    James=28, Tony=25, Ted=25, Joey=25, Henry=23, Gary=22, Frank=22, Dave=22, George=20, Ollie=18, Finn=18,
    Harry=17, Steve=17, Jay=16, Mike=13, Charlie=12, Brian=12, Oliver=10, Dan=10, Paul=9, Jason=9, Larry=9,
    Eric=8, Matt=8, Carl=7, Ryan=6, Gus=6, Nick=6, David=6, Daniel=6, Milo=5, Thomas=5,
)
_WORD = re.compile(r"\b[A-Z][a-z]+\b")


def cast(story: str) -> list[str]:
    """The names of `story` that this module knows, in order of appearance."""
    return [w for w in dict.fromkeys(_WORD.findall(story)) if w in GIRLS or w in BOYS]


def recast(story: str, rng: random.Random, keep: float = 0.25) -> str:
    """`story` with every known name replaced, but kept with probability `keep`; no two share one."""
    old = cast(story)
    taken = set(old)
    new = {}
    for name in old:
        if rng.random() < keep:
            continue
        pool = GIRLS if name in GIRLS else BOYS
        free = [n for n in pool if n not in taken]
        # The square root evens the odds out: Lily to Maya 31 : 1 instead of 945 : 1.
        new[name] = rng.choices(free, [pool[n] ** 0.5 for n in free])[0]
        taken.add(new[name])
    return _WORD.sub(lambda m: new.get(m[0], m[0]), story)
