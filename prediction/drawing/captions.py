"""Numbers and lists as captions and figures write them."""
import numpy as np

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SMALLEST_PLAIN_P = 0.001


def p_value(p, name="p"):
    """'p = 0.03', 'p = 2 × 10⁻⁸⁷', 'p < 10⁻³⁰⁰' for one that is 0 in a computer, 'not tested' for NaN."""
    if not np.isfinite(p):
        return "not tested"
    if p == 0:
        return f"{name} < 10{'-300'.translate(SUPERSCRIPTS)}"
    if p >= SMALLEST_PLAIN_P:
        return f"{name} = {p:.2g}"
    digit, exponent = f"{p:.0e}".split("e")
    return f"{name} = {digit} × 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def number(value, digits=2):
    """A number with a true minus sign."""
    return f"{value:,.{digits}f}".replace("-", "−")


def interval(value, low, high, digits=2):
    """'0.45 [0.33, 0.59]', without brackets where there is no interval."""
    words = number(value, digits)
    return f"{words} [{number(low, digits)}, {number(high, digits)}]" if np.isfinite([low, high]).all() else words


def counted(n, word):
    """'1 gene', '1,200 genes'."""
    return f"{n:,.0f} {word}" + ("" if n == 1 else "s")


def listed(words):
    """'a', 'a and b', 'a, b and c'."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def spread(values):
    """'60', or '40 to 60' of several numbers."""
    low, high = np.nanmin(values), np.nanmax(values)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
