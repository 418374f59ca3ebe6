"""Words of mathematics and of measure."""

FUNCTIONS = [
    "arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "arsinh", "arcosh", "artanh", "sinh", "cosh",
    "tanh",
    "coth", "sin", "cos", "tan", "cot", "sec", "csc", "ln", "log", "exp", "sqrt", "max", "min", "gcd", "lcm", "det",
    "lim", "sup", "inf", "mod", "deg", "arg", "Re", "Im",
]  # fmt: skip
GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
    "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
]  # fmt: skip
_SPELLINGS_OF_UNITS = (
    "m meter meters metre metres 米", "cm centimeter centimeters centimetre centimetres 厘米",
    "mm millimeter millimeters 毫米", "km kilometer kilometers kilometre kilometres 千米 公里",
    "nm nanometer nanometers", "kg kilogram kilograms 千克 公斤",
    "g gram grams gm 克", "mg milligram milligrams", "s sec secs second seconds 秒", "min mins minute minutes 分钟",
    "ms millisecond milliseconds", "h hr hrs hour hours 小时", "day days 天", "week weeks", "month months",
    "yr year years",
    "inch inches in", "ft foot feet", "yd yard yards", "mile miles mi", "mph", "kph kmh",
    "dollars dollar USD bucks",
    "cents cent", "lb lbs pound pounds", "oz ounce ounces", "Hz hertz", "kHz", "MHz", "GHz", "N newton newtons",
    "J joule joules", "kJ", "W watt watts", "kW", "MW", "V volt volts", "A amp amps ampere amperes", "K kelvin",
    "Pa pascal pascals", "kPa", "mol mole moles", "L l liter liters litre litres", "ml mL milliliter milliliters",
    "eV", "keV", "MeV", "GeV", "erg ergs", "C coulomb coulombs", "F", "T tesla", "rad radian radians",
    "deg degree degrees 度", "AU", "pc", "kpc", "Mpc", "dyne dynes", "u amu", "atm", "am AM", "pm PM", "north",
    "south",
    "east", "west", "euros euro EUR", "GBP", "Msun", "Lsun", "Rsun", "ohm ohms", "bar", "M", "cal", "kcal",
    "angstrom angstroms AA Å", "rupees rupee Rs INR", "yen JPY", "yuan RMB CNY 元 块", "jiao 角", "pesos peso",
    "rubles ruble", "francs franc", "pence penny", "shillings shilling", "won", "unit units", "square sq",
    "cubic cu", "per", "percent",
)  # fmt: skip
UNITS = {word: names.split()[0] for names in _SPELLINGS_OF_UNITS for word in names.split()}
"""Spelling of a unit -> its one name."""
BASES = {
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "sixteen": "16",
}
PREFIXED = {
    prefix + base
    for prefix in ("n", "u", "m", "k", "M", "G", "T")
    for base in ("m", "g", "s", "Hz", "N", "J", "W", "V", "A", "Pa", "eV", "K", "mol", "F", "T", "C", "pc", "ohm")
} - set(UNITS)
"""Units with a prefix, such as kV."""
MULTIPLIERS = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
"""Words behind a number that multiply it."""
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
CHANGING = {
    "hundred", "hundreds", "thousand", "thousands", "million", "millions", "billion", "billions", "trillion",
    "dozen",
    "dozens", "squared", "cubed", "factorial", "not", "no", "none", "never", "neither", "or", "and", "is", "isn",
    "wrong", "more", "less", "fewer", "greater", "smaller", "larger", "than", "least", "most", "over", "under",
    "above",
    "below", "up", "half", "twice", "double", "triple", "times", "plus", "minus", "negative", "between", "all",
    "any",
    "every", "except", "but", "multiple", "multiples", "divisible", "root", "power", "powers", "halves",
    "thirds", "fourths", "quarters", "fifths", "sixths", "sevenths", "eighths", "ninths",
    "tenths", "hundredths", "thousandths", "tens", "scores", "gross", "if", "when", "where", "unless", "until",
    "mod",
    "modulo", "odd", "even", "prime", "false", "incorrect", "impossible", "excluding", "without", "divided",
    "inverse",
    "reciprocal", "opposite", "cannot", "otherwise", "beyond", "after", "before", "exceeds", "anything",
    "other", "others", "percents", "unity", "magnitude",
}  # fmt: skip
"""Words behind or before a number that make it another one."""
COUNTED = {
    "people", "men", "women", "children", "mice", "geese", "feet", "teeth", "fish", "sheep", "deer", "dice",
    "vertices",
    "matrices", "indices", "radii", "person", "child", "man", "woman", "way", "solution", "point", "student",
    "pair",
    "triple", "term", "value", "number", "element", "integer", "digit", "set", "subset", "sequence", "function",
    "unit",
    "time", "game", "card", "ball", "coin", "apple", "item", "player", "team", "step", "move", "edge", "vertex",
    "face",
    "side", "triangle", "square", "circle", "line", "block", "tile", "cell", "box", "book", "page", "word",
    "letter",
    "year", "month", "week", "hour", "minute", "second", "degree", "marble", "ticket", "seat", "candy", "money",
    "water", "rice", "flour", "sugar", "milk", "juice", "old", "long", "tall", "wide", "high", "deep", "away",
    "each",
    "cup", "gallon", "piece", "slice", "mile", "liter", "litre", "pound", "dollar", "cent", "total",
    "altogether", "left", "remaining", "respectively", "ago", "later", "faster", "slower", "older", "younger",
    "exactly", "clockwise", "counterclockwise",
}  # fmt: skip
"""Counted things whose names do not end in s, and what may stand behind a number without changing it."""
PREPOSITIONS = {"of", "in", "per", "for", "on", "at", "to", "from", "with", "each", "every", "long", "tall", "wide"}
"""Words behind which a counted thing is only described: "ways to go", "pounds of rice"."""
LABELS = {
    "the", "a", "an", "so", "thus", "hence", "therefore", "we", "have", "get", "it", "is", "are", "be", "final",
    "answer", "answers", "correct", "option", "choice", "solution", "solutions", "result", "value", "values",
    "total",
    "exactly", "approximately", "about", "approx", "equals", "equal", "to", "of", "in", "our", "required",
    "minimum",
    "maximum", "smallest", "largest", "greatest", "least", "sum", "area", "volume", "length", "perimeter", "number",
    "probability", "there", "will", "must", "following", "that", "ans", "these", "this", "x", "y", "n", "interval",
    "set", "range", "domain", "simplified", "year", "pairs", "points", "答案",
    "选", "故选", "答", "应选", "所以", "因此", "所求", "结果", "答案是", "答案为",
}  # fmt: skip
"""Words of which what stands before an answer is made, where they say no more than that it is the answer."""
