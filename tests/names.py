"""Names that data may have and that some document would take for something else than text."""

import re

NAMES = (
    "DML – ours (α≤0.5)",  # noqa: RUF001 - a dash in a name
    "npz:数据.npz",
    "US$ and A$",
    "$1_$5",
    "a|b",
    "<script>alert(1)</script>",
    r"\input{x}",
    r"back\|slash\\",
    "100 %",
    "#1_2^3~&{}",
    "=cmd|' /C calc'!A0",
    "+1",
    "a\nb",
    "\x1b[31mred\x9b",
    "שלום עולם",
    "🙂",
    "x̂ é",
    "_hidden_ *bold* `code` [link](x)",
    "&lt;b&gt;",
    "turned\u202earound",
    "half\ud800",
)

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no document has, apart from the ends of its lines and tabulators."""
