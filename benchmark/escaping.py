"""Text as each kind of document prints it: names from data are text, and only a person's own labels may be markup."""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import NamedTuple

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves a terminal's cursor, ends a line, turns the direction of all that follows, or is no character at all."""


class Markup(NamedTuple):
    """How a kind of document that may have markup has what rows and columns are called."""

    text: Callable[[str], str]  # from a word of the data to what prints it as it is
    chosen: Callable[[str], str]  # from a word that a person has chosen, which may be markup


def visible(words: str, kept: str = "") -> str:
    r"""Return words on one line, with control characters as Python and JSON write them: ``\n``, ``\u001b``."""
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"} | {control: control for control in kept}
    return _CONTROLS.sub(lambda found: known.get(found[0], f"\\u{ord(found[0]):04x}"), words)


def lines(words: str) -> str:
    """Return text as a terminal may have it: as :func:`visible`, but with its lines and tabulators."""
    return visible(words, "\n\t")


PLAIN = Markup(str, str)  # for documents without markup of a person's own: there all is escaped as a whole later on


_MARKDOWN = re.compile(
    r"""[|<`~$]                                # a cell's end, HTML, code, struck through, a formula
    | \*(?=\S) | (?<=\S)\*                     # emphasis; a star that stands alone is none
    | (?<![^\W_])_ | _(?![^\W_])               # emphasis, but not within a word
    | \\(?=[!-/:-@[-`{-~]|$)                   # itself, where it would escape what follows
    | \](?=[(\[:])                             # the middle of a link
    | &(?=\#?\w+;)                             # a character by its name
    """,
    re.VERBOSE,
)


def markdown(words: str) -> str:
    """Return text for a Markdown cell or line: GitHub's tables and formulas included."""
    return _MARKDOWN.sub(r"\\\g<0>", visible(words))


def _markdown_chosen(words: str) -> str:
    """Return a person's words: formulas are formulas, the rest is text."""
    parts = re.split(r"(\$[^$]+\$)", visible(words))
    return "".join(part.replace("|", "\\|") if place % 2 else markdown(part) for place, part in enumerate(parts))


def markdown_code(words: str) -> str:
    """Return text as a Markdown code span, whatever backticks it has."""
    longest = max(map(len, re.findall("`+", words)), default=0)
    fence, gap = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{gap}{visible(words)}{gap}{fence}"


MARKDOWN = Markup(markdown, _markdown_chosen)


def csv_text(words: str) -> str:
    """Return text for a CSV cell; what a spreadsheet would take for a formula begins with an apostrophe.

    So ``=1+1`` is ``'=1+1``: a spreadsheet that opens the file computes nothing, and a program takes one character off.
    Numbers are no text and keep their sign. A record stays one line.
    """
    return f"'{visible(words)}" if words.lstrip().startswith(("=", "+", "-", "@")) else visible(words)


def hypertext(words: str) -> str:
    """Return text for HTML, in an element or in an attribute."""
    return html.escape(visible(words))


_GREEK = r"""\alpha \beta \gamma \delta \varepsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi o \pi \rho
\varsigma \sigma \tau \upsilon \varphi \chi \psi \omega"""
_CAPITALS = r"A B \Gamma \Delta E Z H \Theta I K \Lambda M N \Xi O \Pi P - \Sigma T \Upsilon \Phi X \Psi \Omega"
_FORMULAS = r"""µ \mu ϵ \epsilon ϑ \vartheta ϕ \phi ± \pm ∓ \mp ÷ \div · \cdot ≤ \leq ≥ \geq ≠ \neq ≈ \approx ≡ \equiv
∞ \infty → \rightarrow ← \leftarrow ↔ \leftrightarrow ↑ \uparrow ↓ \downarrow ⇒ \Rightarrow ∈ \in ∂ \partial ∇ \nabla
∑ \sum ∏ \prod √ \surd ∝ \propto ° ^\circ ¹ ^1 ² ^2 ³ ^3 ⊕ \oplus ⊗ \otimes ∥ \parallel"""
# at the start of a row brackets and stars would be read as options of the line before
_TEXT = r"""\ \textbackslash{} ~ \textasciitilde{} ^ \textasciicircum{} ` \textasciigrave{} < \textless{}
> \textgreater{} | \textbar{} [ {[} ] {]} * {*} & \& % \% $ \$ # \# _ \_ { \{ } \} … \ldots{} € \texteuro{} § \S{}
© \copyright{}"""
_LATEX: dict[str, str] = {
    **{chr(0x3B1 + place): f"${command}$" for place, command in enumerate(_GREEK.split())},
    **{chr(0x391 + place): f"${command}$" for place, command in enumerate(_CAPITALS.split()) if command != "-"},
    **{character: f"${command}$" for character, command in re.findall(r"(\S+)\s(\S+)", _FORMULAS)},
    **dict(re.findall(r"(\S+)\s(\S+)", _TEXT)),
    "\u00d7": r"$\times$", "\u2212": "$-$", "\N{HYPHEN}": "-", "\N{NON-BREAKING HYPHEN}": "-", "\N{EN DASH}": "--",
    "\N{EM DASH}": "---", "\N{LEFT SINGLE QUOTATION MARK}": "`", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``", "\N{RIGHT DOUBLE QUOTATION MARK}": "''", "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip
"""What pdfLaTeX has commands for without a package."""

_LATIN = {chr(code) for code in range(0xC0, 0x180) if chr(code).isalpha()} - set("ĦħĸĿŀŉŦŧſ")
"""What pdfLaTeX reads as UTF-8; it does so by itself since 2018."""

_T1 = set("ĄąĘęĮįŲųÐðĐđÞþŊŋ")  # those of them that its oldest fonts have not


def latex(words: str) -> str:
    """Return text that LaTeX prints as it is; what no command is known for stays as it is, see :func:`latex_needs`."""
    composed = unicodedata.normalize("NFC", visible(words))
    # two hyphens in a word would become a dash
    return re.sub(r"((?<=\S)-(?=-))|(.)", lambda found: "-{}" if found[1] else _LATEX.get(found[2], found[2]), composed)


def _latex_chosen(words: str) -> str:
    """Return a person's own words: LaTeX as it is if they hold a backslash or a formula, else as text."""
    return words if "\\" in words or words.count("$") >= 2 else latex(words)


LATEX = Markup(latex, _latex_chosen)


def latex_needs(document: Iterable[str]) -> list[str]:
    """Return what a LaTeX document needs because of its characters, a comment each."""
    found = {char for line in document for char in line if not char.isascii()}
    foreign = "".join(sorted(found - _LATIN))
    return [
        *([r"% needs \usepackage[T1]{fontenc}, unless it is XeLaTeX or LuaLaTeX"] if found & _T1 else []),
        *([f"% needs XeLaTeX or LuaLaTeX and a font that has {foreign}"] if foreign else []),
    ]


def figure(words: str) -> str:
    """Return text for a figure, in which two dollar signs would make a formula and ``_`` would hide from a legend."""
    words = visible(words).replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{words}" if words.startswith("_") else words


_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.-]{0,79}", re.ASCII)


def file_name(words: str, ending: str = "") -> str:
    """Return a file name for a name from data, which never leads to another folder.

    A name of letters, digits and ``_+.-`` stays as it is; any other becomes what it has of these and a hash.
    """
    if _FILE_NAME.fullmatch(words):
        return f"{words}{ending}"
    cleaned = re.sub(r"[^A-Za-z0-9+]+", "-", words).strip("-")[:40]
    return f"{cleaned or 'name'}-{sha256(words.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}{ending}"
