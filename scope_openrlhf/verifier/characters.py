"""Characters beyond ASCII, as TeX spells them."""

import re
import unicodedata

_UNICODE = {
    "𝜋": r"\pi ", "ℵ": r"\aleph ", "≡": r"\equiv ", "∉": r"\notin ", "∖": r"\setminus ", "⊂": r"\subset ",
    "∥": r"\parallel ",
    "⊥": r"\perp ", "∠": r"\angle ", "△": r"\triangle ", "∆": r"\Delta ", "∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ",
    "∂": r"\partial ", "∇": r"\nabla ", "…": r"\ldots ", "⋯": r"\cdots ", "→": r"\to ", "⌊": r"\lfloor ",
    "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∧": r"\land ", "∨": r"\lor ", "∓": r"\mp ", "∀": r"\forall ",
    "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ", "ϵ": r"\epsilon ", "ζ": r"\zeta ", "η": r"\eta ",
    "κ": r"\kappa ", "ν": r"\nu ", "ξ": r"\xi ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "ϕ": r"\phi ",
    "χ": r"\chi ", "ψ": r"\psi ", "Γ": r"\Gamma ", "Δ": r"\Delta ", "Θ": r"\Theta ", "Λ": r"\Lambda ",
    "Σ": r"\Sigma ", "Φ": r"\Phi ", "Ψ": r"\Psi ", "Ω": r"\Omega ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
    "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "ℓ": r"\ell ", "ℏ": r"\hbar ", "∗": r"\cdot ",
    "⅕": r"\frac{1}{5}", "⅖": r"\frac{2}{5}", "⅗": r"\frac{3}{5}", "⅘": r"\frac{4}{5}", "⅙": r"\frac{1}{6}",
    "⅚": r"\frac{5}{6}", "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}", "∶": ":", "：": ":",
    "，": ",", "；": ";", "（": "(", "）": ")", "。": ".", "、": ",", "∣": "|", "‖": r"\|", "¬": r"\neg ", "±": r"\pm ",
    "¢": r"\text{ cents}",
    "−": "-", "–": "-", "—": "-", "‐": "-", "×": r"\times ", "✕": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "÷": "/", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "∞": r"\infty ", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
    "λ": r"\lambda ", "μ": r"\mu ", "ω": r"\omega ", "φ": r"\phi ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "′": "'", "°": r"^\circ ", "º": r"^\circ ", "√": r"\sqrt ", "⁄": "/",
    "∕": "/", "“": "", "”": "", "‘": "'", "’": "'", "％": r"\%", "\u00a0": " ", "\u2009": r"\,", "\u202f": r"\,",
    "\u2002": " ", "\u2003": " ", "\u200b": "", "⟨": r"\langle ", "⟩": r"\rangle ", "½": r"\frac{1}{2}",
    "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅛": r"\frac{1}{8}",
}  # fmt: skip
_SUPERSCRIPTS, _SUBSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿˣʸᵏᵐⁱ⁽⁾ᵗ", "₀₁₂₃₄₅₆₇₈₉₋₊ₙₖₘᵢⱼₐₓ₍₎"
_SUPERSCRIPT = str.maketrans(_SUPERSCRIPTS, "0123456789-+nxykmi()t")
_SUBSCRIPT = str.maketrans(_SUBSCRIPTS, "0123456789-+nkmijax()")


def plain_characters(text: str) -> str:
    """Write mathematics in characters beyond ASCII as TeX: ½, x², π, ≤, 𝑥 and full-width digits."""
    # full-width letters and mathematical alphabets (𝑥, 𝐑) are those letters
    wide = (unicodedata.normalize("NFKC", c) if "\uff00" <= c <= "\uffef" or c >= "\U0001d400" else c for c in text)
    text = "".join(_UNICODE.get(c, c) for c in wide)
    text = re.sub(f"[{_SUPERSCRIPTS}]+", lambda m: "^{" + m[0].translate(_SUPERSCRIPT) + "}", text)
    return re.sub(f"[{_SUBSCRIPTS}]+", lambda m: "_{" + m[0].translate(_SUBSCRIPT) + "}", text)
