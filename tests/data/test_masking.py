import random
import time

import pytest

from scope_openrlhf.data.masking import Placeholders, leaks, mask_trace, prefix

# trace, gold answer, what is shown
# fmt: off
NUMBERS = [
    ("so 12 remain", "", "so [NUMBER] remain"),
    ("7", "7", "[NUMBER]"),
    ("it is 3.14.", "", "it is [NUMBER]."),
    ("about .5 of it", "", "about [NUMBER] of it"),
    ("1,234 and 1{,}234,567", "", "[NUMBER] and [NUMBER]"),
    (r"32,\!348 or 3\,159", "", "[NUMBER] or [NUMBER]"),
    ("(1,2) and {3, 4}", "", "([NUMBER],[NUMBER]) and {[NUMBER], [NUMBER]}"),
    ("3/4 of 12 / 5", "", "[NUMBER] of [NUMBER]"),
    ("1/x and x/3", "", "[NUMBER]/x and x/[NUMBER]"),
    (r"\frac{3}{4}", "", "[NUMBER]"),
    (r"\dfrac{-3}{4}+\tfrac12", "", "[NUMBER]+[NUMBER]"),
    (r"\frac{x}{4}", "", r"\frac{x}{[NUMBER]}"),
    (r"\sqrt{2}+\sqrt[3]{5}+\sqrt 7", "", "[NUMBER]+[NUMBER]+[NUMBER]"),
    (r"\sqrt{x+1}", "", r"\sqrt{x+[NUMBER]}"),
    ("√2 and 3√5", "", "[NUMBER] and [NUMBER][NUMBER]"),
    (r"3.2\times 10^{5} m", "", "[NUMBER] m"),
    (r"6\cdot10^{-3}, 10^5, 10^n", "", "[NUMBER], [NUMBER], [NUMBER]^n"),
    ("1e-5, 3E8, 2*10^6, 10**7", "", "[NUMBER], [NUMBER], [NUMBER], [NUMBER]"),
    ("4 \u00d7 10³ and 10⁻² W", "", "[NUMBER] and [NUMBER] W"),
    (r"45% or 45\% or 45 \%", "", "[NUMBER] or [NUMBER] or [NUMBER]"),
    ("7 % 3 = 1", "", "[NUMBER] % [NUMBER] = [NUMBER]"),
    (r"0.\overline{3} = 1/3", "", "[NUMBER] = [NUMBER]"),
    ("½ cup, 2½ cups", "", "[NUMBER] cup, [NUMBER] cups"),
    ("x² + y¹⁰", "", "x[NUMBER] + y[NUMBER]"),
    ("x^2+y^{10}", "", "x^[NUMBER]+y^{[NUMBER]}"),
    ("2^{10} = 1024", "", "[NUMBER]^{[NUMBER]} = [NUMBER]"),
    ("x_1 + x_{12} = a_{1,2}", "", "x_1 + x_{12} = a_{1,2}"),
    (r"a_{n-1}, \sum_{i=1}^{5} i", "", r"a_{n-[NUMBER]}, \sum_{i=[NUMBER]}^{[NUMBER]} i"),
    (r"\int_2^5 f, F|_2^5", "", r"\int_[NUMBER]^[NUMBER] f, F|_[NUMBER]^[NUMBER]"),
    ("101_2, a_2", "", "[NUMBER]_2, a_2"),
    (
        r"$\log_6 36=2$, \log_{10} 5, log_2 8", "",
        r"$\log_[NUMBER] [NUMBER]=[NUMBER]$, \log_{[NUMBER]} [NUMBER], log_[NUMBER] [NUMBER]",
    ),
    ("___5", "", "___[NUMBER]"),
    ("2x + 3(y - 1)", "", "[NUMBER]x + [NUMBER](y - [NUMBER])"),
    ("$5 and \\$7", "", "$[NUMBER] and \\$[NUMBER]"),
    ("$x=5$", "", "$x=[NUMBER]$"),
    (r"5 cm, 5cm, 3\text{ km}, \text{9 m}", "", r"[NUMBER] cm, [NUMBER]cm, [NUMBER]\text{ km}, \text{[NUMBER] m}"),
    (r"at 3:45, 90^\circ, 3rd", "", r"at [NUMBER]:[NUMBER], [NUMBER]^\circ, [NUMBER]rd"),
    ("3-5 and -4", "", "[NUMBER]-[NUMBER] and -[NUMBER]"),
    ("2024-01-15, 1/15/2024, May 5, 2024", "", "[NUMBER]-[NUMBER]-[NUMBER], [NUMBER], May [NUMBER], [NUMBER]"),
    ("<<48/2=24>>24", "24", "<<[NUMBER]=[NUMBER]>>[NUMBER]"),
    ("#### 48", "48", "#### [NUMBER]"),
    ("seven apples", "7", "seven apples"),
    ("x1, H2O", "", "x[NUMBER], H[NUMBER]O"),
    ("\u0663 \uff15", "", "[NUMBER] [NUMBER]"),  # Arabic three, full-width five
    ("", "", ""),
    ("no number", "", "no number"),
]
STRUCTURE = [
    ("Step 3: add 4", "", "Step 3: add [NUMBER]"),
    ("Case 2. PART 1, subcase 2.1: x", "", "Case 2. PART 1, subcase 2.1: x"),
    ("By Theorem 2 and Lemma 1, see Figure 2 of Section 4", "", "By Theorem 2 and Lemma 1, see Figure 2 of Section 4"),
    ("From Equation (4) and Eq.~(5), Eq. 6", "", "From Equation (4) and Eq.~(5), Eq. 6"),
    ("Equations (1) and (2); steps 1, 2 and 3", "", "Equations (1) and (2); steps 1, 2 and 3"),
    ("Case 1, 2 apples", "", "Case 1, [NUMBER] apples"),
    ("in this case 5 remain", "", "in this case [NUMBER] remain"),
    ("the case 2x = 6, Case 3/4", "", "the case [NUMBER]x = [NUMBER], Case [NUMBER]"),
    ("staircase 3", "", "staircase [NUMBER]"),
    ("round 37 up, it approaches 2", "", "round [NUMBER] up, it approaches [NUMBER]"),
    ("3 steps", "", "[NUMBER] steps"),
    ("(ii) add (iv)", "", "(ii) add (iv)"),
    ("1. Add 5\n2) Halve 6\n3: End", "", "1. Add [NUMBER]\n2) Halve [NUMBER]\n3: End"),
    ("  (1) Add\n- 2. Halve\n**3.** End", "", "  (1) Add\n- 2. Halve\n**3.** End"),
    ("is\n48.\n3.5 m", "", "is\n[NUMBER].\n[NUMBER] m"),  # alone in its line it is a value
    ("add 1. Then 2) is", "", "add [NUMBER]. Then [NUMBER]) is"),
    ("## 3.\n## 4. Sum 9\n### Step 5", "", "## 3.\n## 4. Sum [NUMBER]\n### Step 5"),
    (r"x = 5 \tag{1} by \eqref{eq:2}", "", r"x = [NUMBER] \tag{1} by \eqref{eq:2}"),
]
CODE = [
    ("Run\n```python\nprint(6*7)\n```\nto get 42", "", "Run\n[CODE]\nto get [NUMBER]"),
    ("```\na = 1", "", "[CODE]"),
    ("~~~py\nx = 3\n~~~\nso 3", "", "[CODE]\nso [NUMBER]"),
    ("````\n```\n1\n```\n````\n2", "", "[CODE]\n[NUMBER]"),
    ("```a``` and ```b```", "", "[CODE] and [CODE]"),
    ("`x` ~~~3~~~", "", "`x` ~~~[NUMBER]~~~"),
]
BOXES = [
    (r"\boxed{48}", "48", r"\boxed{[NUMBER]}"),
    (r"\boxed{-3}, \boxed{ \$5 }", "-3", r"\boxed{[NUMBER]}, \boxed{[NUMBER]}"),
    (
        r"\boxed{\frac{-3}{4}} \boxed{2\frac{1}{2}} \boxed{45\%}", "",
        r"\boxed{[NUMBER]} \boxed{[NUMBER]} \boxed{[NUMBER]}",
    ),
    (r"\boxed{\frac{\pi}{4}}.", "", r"\boxed{[ENTITY]}."),
    (r"\boxed{\{1, 2\}} {3}", "", r"\boxed{[ENTITY]} {[NUMBER]}"),
    (r"\boxed{B} and \fbox {Paris}", "", r"\boxed{[ENTITY]} and \fbox {[ENTITY]}"),
    (r"\boxed{5\text{ cm}}", "", r"\boxed{[ENTITY]}"),
    (r"\boxed{\boxed{5}} 6", "", r"\boxed{[NUMBER]} [NUMBER]"),
    (r"\\boxed{5}", "", r"\\boxed{[NUMBER]}"),  # escaped once too often
    (r"\boxed{} \boxed{[NUMBER]}", "", r"\boxed{} \boxed{[NUMBER]}"),
    ("so \\boxed{x + {1}\nand 3", "", r"so \boxed{[ENTITY]"),  # never closed
]
ENTITIES = [
    ("Paris is in France, PARIS!", "Paris", "[ENTITY] is in France, [ENTITY]!"),
    ("Parisian comparisons", "Paris", "Parisian comparisons"),
    ("New  York\nand new york", "New York", "[ENTITY]\nand [ENTITY]"),
    ("So yes, yesterday", r"\text{yes}", "So [ENTITY], yesterday"),
    ("f = x^2+1 = 1 + x ^ 2", "$x^2 + 1$", "f = [ENTITY] = [NUMBER] + x ^ [NUMBER]"),
    ("x^2+10 and x^2+1.5", "x^2+1", "x^[NUMBER]+[NUMBER] and x^[NUMBER]+[NUMBER]"),
    (r"it is \frac{\pi}{4} or \dfrac{\pi}{4}", r"\frac{\pi}{4}", "it is [ENTITY] or [ENTITY]"),
    (r"2\pi r, \pi, \pitch", r"\pi", r"[NUMBER][ENTITY] r, [ENTITY], \pitch"),
    ("the point (3, 4)", "(3,4)", "the point [ENTITY]"),
    ("5 cm, 15 cm, 2.5 cm", "5 cm", "[ENTITY], [NUMBER] cm, [NUMBER] cm"),
    ("Step 3 is wrong, Step 4 is not", "Step 3", "[ENTITY] is wrong, Step 4 is not"),
    (
        "A cat: option A, (A), answer is A because", "A",
        "A cat: option [ENTITY], ([ENTITY]), answer is [ENTITY] because",
    ),
    (r"The answer is $\textbf{(C)}$. C is 5", r"\text{(C)}", r"The answer is $\textbf{([ENTITY])}$. C is [NUMBER]"),
    ("the answer is a prime, option a. P(a)", "a", "the answer is a prime, option [ENTITY]. P(a)"),
    ("Answer: A\nAnswer: A square, answer is B", "A", "Answer: [ENTITY]\nAnswer: A square, answer is B"),
    ("NUMBER [NUMBER] entity 5", "number", "[ENTITY] [NUMBER] entity [NUMBER]"),
    ("a > b", ">", "a > b"),  # no letter and no digit: hidden in a box only
    ("x} 5", "x}", "x} [NUMBER]"),
    ("5 = 5", " 5 ", "[NUMBER] = [NUMBER]"),
]
# fmt: on
CASES = NUMBERS + STRUCTURE + CODE + BOXES + ENTITIES


@pytest.mark.parametrize(("trace", "answer", "shown"), CASES)
def test_a_trace_shows_its_way_and_hides_its_values(trace, answer, shown):
    assert mask_trace(trace, answer) == shown


@pytest.mark.parametrize(("trace", "answer", "shown"), CASES)
def test_masking_a_masked_trace_changes_nothing(trace, answer, shown):
    assert mask_trace(shown, answer) == shown


def test_a_whole_solution_keeps_its_plan():
    trace = (
        "## 1. Plan\nLet $x_1$ be the price; Step 2 needs $3x_1+4=19$.\n\n"
        "1. Subtract 4: $3x_1=15$.\n2. Divide by 3.\n\n"
        "```python\nprint(15 / 3)\n```\nThe answer is $\\boxed{5}$ dollars, i.e. 25\\% of 20.\n"
    )
    assert mask_trace(trace, "5") == (
        "## 1. Plan\nLet $x_1$ be the price; Step 2 needs $[NUMBER]x_1+[NUMBER]=[NUMBER]$.\n\n"
        "1. Subtract [NUMBER]: $[NUMBER]x_1=[NUMBER]$.\n2. Divide by [NUMBER].\n\n"
        "[CODE]\nThe answer is $\\boxed{[NUMBER]}$ dollars, i.e. [NUMBER] of [NUMBER].\n"
    )


def test_the_blanks_may_be_any_text():
    stars = Placeholders(number="*")
    assert mask_trace(r"59-2=57;57-9=48;\boxed{48}", "48", stars) == r"*-*=*;*-*=*;\boxed{*}"
    assert mask_trace(r"*-*=*;*-*=*;\boxed{*}", "48", stars) == r"*-*=*;*-*=*;\boxed{*}"
    words = Placeholders(r"\1", "<code>", "<who>")
    assert mask_trace("```x``` Bob has 3", "Bob", words) == r"<code> <who> has \1"


# fmt: off
PIECES = [
    "1", "23", "4.5", ".5", "1,234", "10^", "e", "{3}", "½", "²", "√", "/", "^", "_", "___", "{", "}", "(", ")", "[",
    "]", "$", "%", ",", ".", ":", "-", "*", "|", "~", "#", "`", "```", "~~~", " ", "\n", "\\", "\\frac", "\\sqrt",
    "\\int", "\\boxed{", "1. ", "## ", "Step ", "steps ", "Case ", "this ", "and ", "answer is ", "option ", "x", "a",
    "A", "Paris", "[NUMBER]",
]
HOSTILE = [
    "1", "1,", "1/", "1 ", "10^", "{", "\\", r"\boxed{", r"\boxed{} ", "`", "```", "$", r"\[", r"\frac{1}", "_", " ",
    "\n", ".", ". ", "1. ", "Steps 1, ", "answer is (", "option ", "½", "\0", "\ud800",
]
# fmt: on


@pytest.mark.parametrize(
    "blanks", [Placeholders(), Placeholders("*"), Placeholders("____", "<code>", "<who>")], ids=lambda b: b.number
)
def test_no_text_makes_masking_raise_or_differ_the_second_time(blanks):
    rng = random.Random(0)
    for _ in range(2000):
        trace = "".join(rng.choices(PIECES, k=rng.randint(1, 14)))
        answer = rng.choice(
            ["", "Paris", "A", "a", "x^2+1", r"\frac{\pi}{4}", "12", "5 x", "Step 1", "(1,2)", "-x", "x}"]
        )
        masked = mask_trace(trace, answer, blanks)
        assert mask_trace(masked, answer, blanks) == masked, (trace, answer)
        start = prefix(trace, 0.7)
        assert trace.startswith(start) and len(start) <= 0.7 * len(trace)
        leaks(masked, answer, blanks)


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_trace_takes_time_in_proportion_to_its_length(piece):
    trace = piece * (200_000 // len(piece)) + "z1"
    before = time.process_time()
    mask_trace(trace, "A")
    prefix(trace, 0.99)
    leaks(trace, "12")
    assert time.process_time() - before < 10  # under 1 is usual; in proportion to the square it would be minutes


def test_boxes_in_boxes_are_no_trouble_either():
    trace = r"\boxed{" * 20_000 + "5" + "}" * 20_000
    assert mask_trace(trace) == r"\boxed{[ENTITY]}"
    assert prefix(trace, 0.5) == ""


@pytest.mark.parametrize(
    ("trace", "ratio", "start"),
    [
        ("Add. Then divide.", 1, "Add. Then divide."),
        ("Add. Then divide.", 0, ""),
        ("Add. Then divide.", 0.5, "Add."),
        ("Add. Then divide.", 0.2, ""),  # 3 characters: "Add"
        ("Add. Then divide.", 0.25, "Add."),  # 4
        ("One line\nanother line", 0.5, "One line"),
        ("One line\n\n\nanother line", 0.55, "One line"),
        ("no end in all of it", 0.9, ""),
        ("It is 3.5 m. So it is long", 0.4, ""),  # not "It is 3."
        ("It is 3.5 m. So it is long", 0.5, "It is 3.5 m."),
        ("See e.g. Euler. Then go on with it", 0.3, ""),
        ("See e.g. Euler. Then go on with it", 0.5, "See e.g. Euler."),
        ("Sum\n1. Add all of them", 0.5, "Sum"),  # not "1."
        ("Go. Step 1. Add all of them", 0.5, "Go."),
        ("So 5! = 120. Then halve that", 0.2, ""),  # not "So 5!"
        ('He said "go." Then he went off', 0.5, 'He said "go."'),
        ("Run.\n```\na\nb\nc\n```\nEnd of it", 0.6, "Run."),
        ("So it is\n\\boxed{a\nb. C\nd} and the end", 0.6, "So it is"),
        ("Here $x. Y$ is\nthe sum", 0.4, ""),
        ("Thus\n\\[\nx\n= y\n\\]\nis it", 0.7, "Thus"),
        ("", 0.5, ""),
    ],
)
def test_a_prefix_ends_with_a_sentence_or_a_line(trace, ratio, start):
    assert prefix(trace, ratio) == start


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_outside_0_and_1_is_an_error(ratio):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        prefix("Add.", ratio)


@pytest.mark.parametrize(
    ("masked", "answer", "leak"),
    [
        ("so 12 remain", "12", True),
        ("so 120 or 3.12 or 12.5 remain", "12", False),
        ("it is 12.", "$12$", True),
        ("so [NUMBER] remain", "12", False),
        ("Step 3: add [NUMBER]", "3", True),  # a structural number tells the answer too
        ("x_3 = [NUMBER]", "3", True),
        ("Step 13", "3", False),
        ("1,234 of them", "1234", True),
        ("1234 of them", "1{,}234", True),
        ("so -3", "-3", True),
        ("so 3", "-3", False),
        ("so 0.5", r"\frac{1}{2}", False),  # another spelling
        (r"so \dfrac{\pi}{4}", r"\frac{\pi}{4}", True),
        ("in paris", "Paris", True),
        ("comparison", "Paris", False),
        ("[NUMBER] [ENTITY]", "number", False),
        ("A cat", "A", False),
        ("option A", "A", True),
        (r"\boxed{\text{A}}", "A", True),
        (r"\boxed{>}", ">", True),
        ("anything", "", False),
    ],
)
def test_an_answer_that_still_stands_is_a_leak(masked, answer, leak):
    assert leaks(masked, answer) is leak


def test_what_masking_hid_does_not_leak():
    left = [(trace, answer) for trace, answer, shown in CASES if leaks(shown, answer)]
    assert left == []
    assert leaks(mask_trace("Step 3: so 3 remain", "3"), "3")


def test_custom_blanks_are_no_leak():
    blanks = Placeholders(entity="some name")
    assert not leaks(mask_trace("Name of it", "name", blanks), "name", blanks)
