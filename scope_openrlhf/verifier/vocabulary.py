"""Words of mathematics and of measure."""

FUNCTIONS = [
    "arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "arsinh", "arcosh", "artanh", "sinh", "cosh", "tanh",
    "coth", "sin", "cos", "tan", "cot", "sec", "csc", "ln", "log", "exp", "sqrt", "max", "min", "gcd", "lcm", "det",
    "lim", "sup", "inf", "mod", "deg", "arg", "Re", "Im",
]  # fmt: skip
GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
]  # fmt: skip
_SPELLINGS_OF_UNITS = (
    "m meter meters metre metres", "cm centimeter centimeters centimetre centimetres", "mm millimeter millimeters",
    "km kilometer kilometers kilometre kilometres", "nm nanometer nanometers", "kg kilogram kilograms",
    "g gram grams gm", "mg milligram milligrams", "s sec secs second seconds", "min mins minute minutes",
    "ms millisecond milliseconds", "h hr hrs hour hours", "day days", "week weeks", "month months", "yr year years",
    "inch inches in", "ft foot feet", "yd yard yards", "mile miles mi", "mph", "kph", "dollars dollar USD bucks",
    "cents cent", "lb lbs pound pounds", "oz ounce ounces", "Hz hertz", "kHz", "MHz", "GHz", "N newton newtons",
    "J joule joules", "kJ", "W watt watts", "kW", "MW", "V volt volts", "A amp amps ampere amperes", "K kelvin",
    "Pa pascal pascals", "kPa", "mol mole moles", "L l liter liters litre litres", "ml mL milliliter milliliters",
    "eV", "keV", "MeV", "GeV", "erg ergs", "C coulomb coulombs", "F", "T tesla", "rad radian radians",
    "deg degree degrees", "AU", "pc", "kpc", "Mpc", "dyne dynes", "u amu", "atm", "am AM", "pm PM", "north", "south",
    "east", "west", "euros euro EUR", "GBP", "Msun", "Lsun", "Rsun", "ohm ohms", "bar", "M", "cal", "kcal",
    "angstrom angstroms", "unit units", "square", "cubic", "per", "percent",
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
NO_UNITS = {
    "hundred", "hundreds", "thousand", "thousands", "million", "millions", "billion", "billions", "trillion", "dozen",
    "dozens", "squared", "cubed", "factorial", "not", "no", "none", "never", "neither", "or", "and", "is", "isn",
    "wrong", "more", "less", "fewer", "greater", "smaller", "larger", "than", "least", "most", "over", "under", "above",
    "below", "up", "half", "twice", "double", "triple", "times", "plus", "minus", "negative", "between",
}  # fmt: skip
"""Words behind or before a number that make it another one."""
