r"""Spellings of answers, by class: gold, what must be right, what must be wrong. In the manner of AIME, AMC, MATH, Minerva and OlympiadBench."""

# fmt: off
CASES: dict[str, list[tuple[str, list[str], list[str]]]] = {
    "integers": [
        ("204", ["204", "204.", "204.0", " 204 ", "$204$", r"\(204\)", "+204", r"204\,", r"\text{204}", r"\mathbf{204}", "{204}", r"\displaystyle 204", r"\boxed{204}"], ["-204", "205", "2 04", "2,04", "20.4", "204x"]),
        ("025", ["25", "025", "25.00"], ["250", "-25"]),
        ("-7", ["-7", "−7", r"\text{-7}", "(-7)", "-7.0"], ["7", "- 8"]),
        ("0", ["0", "0.0", "-0", "00"], ["", r"\emptyset", "o", "1"]),
        ("1024", ["2^{10}", "2^10", "4^5", "32^2", "1{,}024"], ["2^{11}", "210"]),
        ("120", ["5!", "120", r"\frac{240}{2}", r"5 \cdot 4 \cdot 3 \cdot 2"], ["5", "6!"]),
        ("10", [r"\binom{5}{2}", r"\dbinom{5}{2}", r"\sqrt{100}", "|-10|"], [r"\binom{5}{1}"]),
    ],
    "thousands": [
        ("3159", [r"3\,159", "3{,}159", "3,159", "3 159", r"3\!,\!159", "3,159.0"], ["3.159", "31,59", "3, 159"]),
        ("1234567", ["1,234,567", r"1\,234\,567", "1{,}234{,}567"], ["1,234,56"]),
        (r"\$32,\!348", ["32348", r"\$32{,}348", r"\$32,348", r"32,348 \text{ dollars}"], ["32.348"]),
        ("12, 345", ["12, 345", "345, 12", "12,345"], ["12", "345"]),
    ],
    "fractions and decimals": [
        (r"\frac{1}{2}", [r"\dfrac{1}{2}", r"\tfrac12", r"\frac12", r"\frac 1 2", "1/2", "0.5", ".5", "½", r"\frac{2}{4}", r"\frac{-1}{-2}", "2^{-1}", r"\frac{1}{2}.", r"50\%"], ["2", r"\frac{1}{3}", "1.2", "12"]),
        (r"-\frac{3}{4}", [r"\frac{-3}{4}", r"\frac{3}{-4}", "-3/4", "-0.75", r"-\dfrac34", r"-\left(\frac{3}{4}\right)"], [r"\frac34", "-0.7"]),
        (r"\frac{1}{3}", [r"0.\overline{3}", r"0.\bar{3}", r"\frac{33}{99}"], ["0.33", "0.333333", "0.3"]),
        ("0.125", [r"\frac{1}{8}", "1/8", "0.1250", r"12.5\%"], ["0.13", "0.12"]),
        (r"2\frac{1}{2}", [r"\frac{5}{2}", "2.5", "2 1/2", r"2 \frac12"], ["1", r"2\cdot\frac12", r"\frac{21}{2}"]),
        (r"\frac{17}{6}", [r"2\frac{5}{6}", "17/6"], ["2.83", r"\frac{6}{17}"]),
        (r"0.1\overline{6}", [r"\frac16"], ["0.16"]),
        ("-1./3", [r"-\frac{1}{3}", "-1/3"], ["-0.33", r"\frac13"]),
    ],
    "percent": [
        (r"10\%", ["10", "0.1", r"10\%", "10%", r"10 \text{ percent}", r"\frac{1}{10}", "10 percent"], ["1", "0.01", r"1\%", "100"]),
        ("62.5", [r"62.5\%", r"62.5\text{ percent}", r"\frac{125}{2}"], ["0.625", "62"]),
        ("0.1", [r"10\%"], [r"1\%", "10"]),
    ],
    "scientific notation": [
        ("4.5e33", [r"4.5 \times 10^{33}", r"4.5 \cdot 10^{33}", "4.5 * 10^33", "4.5e33", "4.5E33", "4.5e+33", r"45 \times 10^{32}", r"4.5\times10^{33}\ \mathrm{m}", "4.5 × 10³³", r"4.50 \times 10^{33}", r"0.45\cdot 10^{34}", "4500000000000000000000000000000000"], [r"4.5 \times 10^{32}", "4.5 e 33", "4.5", r"4.5 \times 10^{-33}", "148.5e"]),
        ("1e-5", ["0.00001", "10^{-5}", r"1 \times 10^{-5}", r"\frac{1}{100000}"], ["10^{-6}", "1e5"]),
        ("3e8", [r"3 \times 10^8", "300000000", r"3\cdot 10^{8} \text{ m/s}"], [r"3 \times 10^7", "24"]),
        ("10^{-20}", ["10^{-20}", "1e-20"], ["10^{-21}", "0", "1e-21"]),
        (r"2.5 \times 10^{-3}", ["0.0025", "2.5e-3", r"\frac{1}{400}"], ["0.025"]),
    ],
    "units": [
        ("5", [r"5 \text{ cm}", "5 cm", "5cm", r"5\,\mathrm{cm}", r"5~\text{meters}", "5 m", r"5 \text{ apples}", "5 apples", r"5\ \mathrm{m/s}", r"5 \text{ cm}^2", r"5 \text{ square units}", r"5\text{ kg}"], ["5t", "5ab", "5x", r"5\pi"]),
        (r"5 \text{ cm}", ["5", "5 cm", r"5\mathrm{~cm}", r"5 \text{ centimeters}"], [r"5 \text{ kg}", r"5 \text{ m}", r"5\text{ cm}^2"]),
        (r"864 \mbox{ inches}^2", ["864", r"864 \text{ square inches}", r"864\text{ in}^2"], [r"864 \text{ cm}^2"]),
        ("120", [r"120^\circ", r"120^{\circ}", r"120 \text{ degrees}", "120°", "120 degrees"], [r"12^\circ"]),
        (r"45^\circ", ["45", r"\frac{\pi}{4}"], [r"\frac{\pi}{3}"]),
        (r"\$18.90", ["18.90", "18.9", r"\$18.9", r"18.90 \text{ dollars}"], ["18.09"]),
        ("70", [r"70 \text{ mph}", r"70 \text{ miles per hour}"], ["7 mph"]),
        (r"9\sqrt{3}", [r"9\sqrt{3} \text{ cm}^2", r"9 \sqrt3\text{ units}"], [r"9\sqrt{2} \text{ cm}^2"]),
        (r"\frac{37m}{4}", [r"\frac{37}{4} m", "9.25m"], [r"\frac{37}{4}"]),
    ],
    "names and equations": [
        ("3", ["x = 3", "x=3.0", "3 = x", "f(2) = 3", "x_{1} = 3", r"\text{The answer is } 3", r"n = \frac{6}{2} = 3", "1+2 = 3", r"x \approx 3", r"\therefore x = 3", r"\angle ABC = 3", "AB = 3", "P(A) = 3"], ["2x = 3", "x = 4", "x > 3", "3 = 4", "x = 3, x = 4"]),
        ("x=5", ["5", "x = 5"], ["y = 5", "x = 6"]),
        ("y=2x+3", ["y = 2x + 3", "2x+3", "y - 2x = 3", "2x - y + 3 = 0", "y = 3 + 2x", "3 + 2x = y"], ["y = 2x - 3", "2x + y = 3", "y = 2x"]),
        ("x^2+y^2=25", ["x^2 + y^2 - 25 = 0", "y^2 + x^2 = 25", "2x^2+2y^2=50"], ["x^2 + y^2 = 5", "x^2+y^2", "25"]),
        ("x^2+1=0", ["1+x^2=0"], ["x^2+2=0"]),
        ("a=3,b=4", ["a=3, b=4", "b = 4, a = 3", "(3,4)"], ["a=4, b=3"]),
    ],
    "several answers": [
        ("2,3", ["2, 3", "3, 2", "3,2", r"2 \text{ and } 3", r"2\text{ or }3", "2 and 3", "x = 2, x = 3", r"x=2 \text{ or } x=3", r"\{2, 3\}", "2; 3", r"x \in \{2,3\}", "x = 2, 3", r"x = 2 \text{ or } 3"], ["2", "3", "2, 4", "2, 3, 4", "(2,3)", "23", "2.3"]),
        (r"3 \pm \sqrt{2}", [r"3+\sqrt{2}, 3-\sqrt{2}", r"3 \pm \sqrt2", r"\{3-\sqrt2, 3+\sqrt2\}", r"x = 3 \pm \sqrt{2}"], [r"3+\sqrt{2}", r"2\pm\sqrt3"]),
        (r"\pm 4", ["4, -4", r"\pm4", r"x=\pm 4", r"-4 \text{ and } 4"], ["4", "-4"]),
        (r"\{1,2,3\}", [r"\{3, 2, 1\}", "1,2,3", r"\left\{1,2,3\right\}"], [r"\{1,2\}", "(1,2,3)"]),
        ("E_1,E_2", ["E_{1}, E_{2}", "E_2, E_1"], ["E_1, E_3"]),
        (r"\frac{1}{2}, -1", ["-1, 0.5", r"-1 \text{ and } \frac12"], [r"1, \frac12"]),
        ("$f(x)=x$,$f(x)=2-x$", ["f(x)=x, f(x)=2-x", r"f(x) = 2 - x \text{ or } f(x) = x", "x, 2-x"], ["f(x)=x", "f(x) = x, f(x) = 2+x"]),
        ("-1, -1, 2", ["-1, 2", "2, -1, -1"], ["-1", "1, 2"]),
    ],
    "tuples and vectors": [
        ("(2,3)", ["(2, 3)", r"\left(2,3\right)", "(x,y) = (2,3)", "x = 2, y = 3", r"\langle 2,3 \rangle", r"\begin{pmatrix}2\\3\end{pmatrix}", r"(2.0, \frac{6}{2})"], ["(3,2)", "2,3", r"\{2,3\}", "(2,3,4)", "[2,3]", "6"]),
        (r"\left( 3, \frac{\pi}{2} \right)", [r"(3, \pi/2)", r"(3,\frac{1}{2}\pi)", r"\left(3, \dfrac{\pi}{2}\right)"], [r"(\frac{\pi}{2}, 3)", r"(3, \pi)"]),
        ("(1,2),(3,4)", ["(3,4),(1,2)", r"(1,2) \text{ and } (3,4)", r"\{(1,2),(3,4)\}"], ["(1,2)", "(2,1),(3,4)"]),
    ],
    "matrices": [
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", [r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}", r"\begin{pmatrix}1&2\\3&4\\\end{pmatrix}", r"\begin{pmatrix} 1 & \frac{4}{2} \\ 3 & 2^2 \end{pmatrix}", r"\left[\begin{array}{cc}1&2\\3&4\end{array}\right]"], [r"\begin{pmatrix}1&3\\2&4\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}", "(1,2,3,4)"]),
        (r"\begin{pmatrix}-2\\0.5\end{pmatrix}", [r"\begin{pmatrix}-2\\\frac12\end{pmatrix}", r"\left(-2,\frac12\right)"], [r"\begin{pmatrix}0.5\\-2\end{pmatrix}"]),
    ],
    "intervals and inequalities": [
        ("[2,5)", [r"\left[2,5\right)", r"2 \le x < 5", r"x \in [2,5)", r"2 \leq x < 5", r"\{x : 2 \le x < 5\}", r"5 > x \geq 2", r"\{x \in \mathbb{R} \mid 2 \le x < 5\}"], ["[2,5]", "(2,5)", "2,5", "2 < x < 5", r"2 \le x"]),
        (r"(-\infty,2)\cup(3,\infty)", [r"x<2 \text{ or } x>3", r"(3,\infty) \cup (-\infty,2)", r"x \in (-\infty, 2) \cup (3, +\infty)", r"(-\infty,2)\bigcup(3,\infty)"], [r"(-\infty,2]\cup(3,\infty)", "(2,3)", r"(-\infty,2)"]),
        ("x<3", ["3 > x", "x < 3", r"(-\infty, 3)", r"x \lt 3"], [r"x \le 3", "x > 3", "3"]),
        (r"[\frac{1}{2}, \infty)", [r"x \ge 0.5", r"[0.5, \infty)", r"\frac12 \le x"], [r"(\frac12,\infty)"]),
        (r"x \neq 2", [r"x \ne 2", "x != 2"], ["x = 2"]),
    ],
    "algebra": [
        ("x^2+1", ["1+x^2", "x^{2} + 1", "x*x+1", r"\frac{2x^2+2}{2}", "f(x) = x^2+1", "(x+i)(x-i)"], ["x^2-1", "x^2", "y^2+1", "x^2+1.5", "X^2+1"]),
        ("(x+1)(x-1)", ["x^2-1", "(x-1)(x+1)", "-(1-x)(1+x)"], ["x^2+1"]),
        ("p - q", ["p-q", "-q+p", "-(q-p)"], ["q-p", "p+q", "pq"]),
        (r"\sin^2 x", [r"1-\cos^2 x", r"(\sin x)^2", r"\sin^2(x)", r"\frac{1-\cos 2x}{2}"], [r"\sin x^2", r"\cos^2 x", r"\sin 2x"]),
        (r"\sqrt{8}", [r"2\sqrt{2}", r"2\sqrt2", "8^{1/2}", "√8", r"\frac{4}{\sqrt{2}}", "sqrt(8)", r"2 \cdot 2^{1/2}"], ["2.83", "4", r"\sqrt{2}", "2.8284271"]),
        (r"\frac{\pi}{4}", [r"\pi/4", r"\frac14\pi", r"0.25\pi", "π/4", r"\arctan 1", r"\tan^{-1}(1)"], ["0.785", r"\frac{4}{\pi}", r"\frac{\pi}{2}"]),
        ("x", ["x", "(x)"], ["|x|", r"\sqrt{x^2}", "-x", "y"]),
        (r"\ln 2", [r"\log_e 2", r"\ln(2)", r"-\ln\frac12", "ln 2", r"\ln{2}"], [r"\log_{10} 2", r"\log 2", "0.693"]),
        (r"\log_2 3", [r"\frac{\ln 3}{\ln 2}", r"\log_{2}(3)", r"\frac{\log 3}{\log 2}"], [r"\log_3 2"]),
        ("e^2", [r"\mathrm{e}^2", "e^{2}", r"\exp(2)", r"e \cdot e"], ["7.389", "2e"]),
        ("3+4i", ["4i+3", "3 + 4 i", r"3+4\mathrm{i}", "(2+i)^2"], ["3-4i", "4+3i", "7i"]),
        (r"\frac{c}{\sqrt2}", [r"\frac{1}{\sqrt2}c", r"\frac{\sqrt2}{2} c", r"\frac{c\sqrt{2}}{2}"], [r"\frac{1}{\sqrt2}", r"\frac{c}{2}"]),
        ("y'", [r"y^{\prime}", r"y^\prime", "y′"], ["y", "y''"]),
        (r"\lambda_{\text{red}}/\sqrt{2}", [r"\frac{\lambda_{red}}{\sqrt{2}}", r"\frac{\lambda_{\mathrm{red}}}{\sqrt{2}}"], [r"\frac{\lambda}{\sqrt 2}"]),
        (r"A e^{-t/\tau}", [r"A\exp(-\frac{t}{\tau})", r"\frac{A}{e^{t/\tau}}"], [r"a e^{-t/\tau}", r"A e^{t/\tau}"]),
        ("mgh", ["m g h", "hgm", r"m\cdot g\cdot h"], ["mg", "mgh^2", "mgH"]),
        ("np.arcsin(10/13)", [r"\arcsin(10/13)", r"\sin^{-1}\left(\frac{10}{13}\right)", r"\arcsin\frac{10}{13}"], [r"\arccos(10/13)"]),
        ("2^{n+1}-1", [r"2\cdot 2^n - 1", "-1+2^{n+1}"], ["2^{n}-1", "2^{n+1}"]),
        ("n!", ["n!", r"n \cdot (n-1)!"], ["n", "(n+1)!"]),
        (r"\sqrt[3]{4}", ["4^{1/3}", "2^{2/3}", r"\sqrt[3]{2}\sqrt[3]{2}"], [r"3\sqrt4", r"\sqrt{4}"]),
        (r"\frac{x+y}{2}", [r"\frac{1}{2}(x+y)", "(x+y)/2", r"\frac{x}{2}+\frac{y}{2}"], [r"\frac{x-y}{2}", r"x+\frac{y}{2}"]),
    ],
    "number bases and ratios": [
        ("2516_8", ["2516_{8}", r"2516_{\text{eight}}", r"\text{2516}_8"], ["2516", "2516_7", "2517_8"]),
        ("101_2", ["101_{2}"], ["101_3", "101"]),
        ("3:4", ["3:4", "6:8", "3 : 4"], ["4:3", "3.4"]),
    ],
    "words": [
        (r"\text{Evelyn}", ["Evelyn", r"\textbf{Evelyn}", "evelyn", r"\text{Evelyn.}", r"\mathrm{Evelyn}"], ["Carla", r"\text{Eve}", "5"]),
        (r"\text{(C)}", ["C", "(C)", r"\text{C}", r"\textbf{(C)}"], ["D", r"\text{(B)}", "3"]),
        ("42", [r"\textbf{(C)}\ 42", "(C) 42", r"\text{(C) } 42"], [r"\textbf{(C)}", "C", r"\textbf{(C)}\ 43"]),
        (r"\text{even}", ["even", r"\text{Even}"], ["odd", r"\text{not even}"]),
        (r"\emptyset", [r"\varnothing", "∅", r"\{\}"], ["0", r"\{0\}"]),
        ("yes", [r"\text{Yes}", "Yes.", "YES"], ["no", r"\text{No}"]),
        (r"\infty", [r"+\infty", "∞"], [r"-\infty", "0"]),
        ("ABC", ["ABC", r"\text{ABC}"], ["ABD"]),
    ],
}
# fmt: on
"""class -> [(gold, right answers, wrong answers)]; an answer is what stands in the box."""

EXTRACTION: list[tuple[str, str, str]] = [
    ("42", r"the answer is \boxed{42}", "right"),
    ("42", "the answer is 42", "wrong"),
    ("42", r"\boxed{42", "wrong"),
    ("42", r"\boxed{41} then \boxed{42", "wrong"),
    ("204", r"\boxed{3}. Wait, no. \boxed{204}", "right"),
    ("3", r"\boxed{3}. Wait, no. \boxed{204}", "wrong"),
    ("3204", r"\boxed{3} ... \boxed{204}", "wrong"),
    ("42", r"<think>\boxed{41}</think> \boxed{42}", "right"),
    ("41", r"<think>\boxed{41}</think> \boxed{42}", "wrong"),
    ("41", r"<think>\boxed{41}</think> so it is 42", "wrong"),
    ("3", r"\boxed{3} or \boxed{4}", "wrong"),
    ("4", r"\boxed{3} or \boxed{4}", "wrong"),
    ("3,4", r"\boxed{3} or \boxed{4}", "right"),
    ("3,4", r"$\boxed{3}$ and $\boxed{4}$", "right"),
    ("4", r"either $\boxed{3}$, or maybe $\boxed{4}$", "wrong"),
    ("3", r"\boxed{3 \text{ or } 4}", "wrong"),
    ("0.5", r"\boxed{\frac12} or \boxed{0.5}", "right"),
    (r"\frac{1}{2}", r"so \boxed{\dfrac{1}{2}}.", "right"),
    (r"\{1,2\}", r"\boxed{\{1,2\}}", "right"),
    ("5", r"\boxed {5}", "right"),
    ("5", r"\fbox{5}", "right"),
    ("5", r"\boxed{\boxed{5}}", "right"),
    ("2", "repetition loop 1+1=2,", "wrong"),
    ("9", r"\[ \boxed{ 9 } \]", "right"),
    ("1", r"\boxed{}", "wrong"),
]
"""(gold, whole response, verdict)."""


def rows() -> list[tuple[str, str, str, str]]:
    """(class, gold, response, verdict) of all of them."""
    table = []
    for name, entries in CASES.items():
        for gold, right, wrong in entries:
            table += [(name, gold, rf"\boxed{{{answer}}}", "right") for answer in right]
            table += [(name, gold, rf"\boxed{{{answer}}}", "wrong") for answer in wrong]
    return table + [("extraction", *case) for case in EXTRACTION]
