"""Make the word problems of examples/cpu_real.yaml: one or two steps of arithmetic in plain English.

    .venv/bin/python examples/words/make.py      # writes train.jsonl and heldout.jsonl beside this file

Seeded: the same files each time. Answers are whole numbers. No two problems are the same, within a file or across both.
Each is the last turn of a chat whose first turns are solved: a model of 135M params copies a form that it is shown,
and seldom follows one that it is only told.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
WHO = ("Ada", "Ben", "Carla", "David", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Lea", "Mei", "Noor", "Omar")
WHAT = ("stickers", "marbles", "shells", "coins", "cards", "pencils", "beads", "buttons", "stamps", "apples")

SOLVED = (
    ("Mia has 4 pens and buys 3 more. How many pens does Mia have now?", "4 + 3 = 7. The answer is \\boxed{7}."),
    ("There are 3 plates with 6 cookies each. How many cookies are there?", "3 * 6 = 18. The answer is \\boxed{18}."),
    ("Tom has 9 balloons and 5 of them burst. How many balloons are left?", "9 - 5 = 4. The answer is \\boxed{4}."),
)
"""Turns before each problem."""


@dataclass(frozen=True)
class Template:
    """A kind of problem about three numbers a, b and c of 2 to `most`."""

    steps: int
    """Operations that the answer takes."""
    most: int
    text: str
    """May name {who}, {friend}, {what}, {a}, {b}, {c}, and {sum} = a + b and {product} = a * b."""
    answer: Callable[[int, int, int], int]


TEMPLATES = (
    Template(1, 6, "{who} has {a} {what} and finds {b} more. How many {what} does {who} have now?",
             lambda a, b, c: a + b),
    Template(1, 6, "There are {a} {what} in one box and {b} {what} in another. How many {what} are there in all?",
             lambda a, b, c: a + b),
    Template(1, 6, "{who} had {sum} {what} and gave {b} of them to {friend}. How many {what} does {who} have left?",
             lambda a, b, c: a),
    Template(1, 6, "{who} has {sum} {what}. {friend} has {b} fewer. How many {what} does {friend} have?",
             lambda a, b, c: a),
    Template(1, 6, "{who} wants {sum} {what} and has {a} so far. How many more {what} does {who} need?",
             lambda a, b, c: b),
    Template(1, 6, "{who} fills {a} bags with {b} {what} each. How many {what} is that altogether?",
             lambda a, b, c: a * b),
    Template(1, 6, "A notebook costs {a} dollars. How many dollars do {b} notebooks cost?",
             lambda a, b, c: a * b),
    Template(1, 6, "{who} shares {product} {what} equally among {b} children. How many {what} does each child get?",
             lambda a, b, c: a),
    Template(1, 6, "{product} chairs stand in rows of {a}. How many rows are there?",
             lambda a, b, c: b),
    Template(2, 6, "{who} has {a} {what}. {friend} has {b} more than {who}. How many {what} do they have together?",
             lambda a, b, c: a + a + b),
    Template(2, 6, "A bus has {sum} passengers. At the next stop {b} get off and {c} get on. How many passengers are "
             "on the bus now?", lambda a, b, c: a + c),
    Template(2, 6, "{who} buys {a} packs of {b} {what} and already had {c} {what}. How many {what} does {who} have "
             "now?", lambda a, b, c: a * b + c),
    Template(2, 6, "{who} reads {a} pages every day for {b} days and then {c} pages more. How many pages has {who} "
             "read?", lambda a, b, c: a * b + c),
    Template(2, 6, "Tickets cost {a} dollars for a child and {b} dollars for an adult. How many dollars do {c} "
             "children and one adult pay?", lambda a, b, c: a * c + b),
    Template(2, 6, "{who} picks {product} {what}, puts them equally into {b} baskets and adds {c} to each. How many "
             "{what} are in each basket?", lambda a, b, c: a + c),
    Template(2, 6, "{who} picks {a} {what} on Monday and twice as many on Tuesday. How many {what} is that in the two "
             "days?", lambda a, b, c: 3 * a),
    Template(2, 6, "{who} had {sum} dollars, spent {b} dollars on a book and earned {c} dollars by washing a car. How "
             "many dollars does {who} have now?", lambda a, b, c: a + c),
    Template(2, 6, "A shop sold {a} cakes in the morning, {b} at noon and {c} in the evening. How many cakes did it "
             "sell?", lambda a, b, c: a + b + c),
)  # fmt: skip


def draw_problem(rng: random.Random) -> tuple[str, str, str]:
    """A problem's text, answer and stratum. Example: ("A notebook costs 3 ...", "12", "one step")."""
    # three in four are of one step: a group without a right answer has nothing to reinforce
    template = rng.choices(TEMPLATES, [3 if template.steps == 1 else 1 for template in TEMPLATES])[0]
    a, b, c = (rng.randint(2, template.most) for _ in range(3))
    who, friend = rng.sample(WHO, 2)
    names = {"who": who, "friend": friend, "what": rng.choice(WHAT)}
    text = template.text.format(**names, a=a, b=b, c=c, sum=a + b, product=a * b)
    return text, str(template.answer(a, b, c)), "one step" if template.steps == 1 else "two steps"


def as_chat(text: str) -> list[dict[str, str]]:
    """The messages of a problem, solved ones before it."""
    turns = [turn for solved in SOLVED for turn in zip(("user", "assistant"), solved, strict=True)]
    return [{"role": role, "content": content} for role, content in (*turns, ("user", text))]


def make_problems(seed: int, **sizes: int) -> dict[str, list[dict]]:
    """Rows by name, as many of each as sizes say. All problems are different."""
    rng, seen = random.Random(seed), set()
    files: dict[str, list[dict]] = {}
    for name, size in sizes.items():
        rows: list[dict] = []
        while len(rows) < size:
            text, answer, stratum = draw_problem(rng)
            if text not in seen:
                seen.add(text)
                row = {"id": f"{name}-{len(rows)}", "problem": as_chat(text), "answer": answer, "stratum": stratum}
                rows.append(row)
        files[name] = rows
    return files


if __name__ == "__main__":
    for name, rows in make_problems(2026, heldout=100, train=400).items():
        (HERE / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
