"""Numbers and lists as captions and figures write them."""
import numpy as np

SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
SMALLEST_PLAIN_P = 0.001


def p_value(p, name="p"):
    """'p = 0.03', 'p = 2 \u00d7 10\u207b\u2078\u2077', 'p < 10\u207b\u00b3\u2070\u2070' for one that is 0 in a computer, 'not tested' for NaN."""
    if not np.isfinite(p):
        return "not tested"
    if p == 0:
        return f"{name} < 10{'-300'.translate(SUPERSCRIPTS)}"
    if p >= SMALLEST_PLAIN_P:
        return f"{name} = {p:.2g}"
    digit, exponent = f"{p:.0e}".split("e")
    return f"{name} = {digit} \u00d7 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def number(value, digits=2):
    """A number with a true minus sign."""
    return f"{value:,.{digits}f}".replace("-", "\u2212")


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
