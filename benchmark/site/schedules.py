"""The weights of loss terms over the epochs, drawn in the colours of the page."""

from collections.abc import Sequence

from markupsafe import Markup

from benchmark.reports import Drawn

WIDTH, HEIGHT = 320, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 22


def drawing(drawn: Drawn) -> Markup:
    """Return a small figure a term: its weight, the product of all ramps and decays, over the epochs of a run.

    Args:
        drawn: The schedules of one method.
    """
    figures = []
    for term, schedule in drawn.schedules.items():
        state = "" if schedule.active else ": switched off" if schedule.switched_off else ": inactive"
        figures.append(
            Markup("<figure><figcaption>{}{}</figcaption>{}</figure>").format(
                term, state, _curve(term, schedule.values, schedule.weight)
            )
        )
    return Markup("").join(figures)


def _curve(term: str, values: Sequence[float], top: float) -> Markup:
    """Return one curve as SVG.

    Args:
        term: What it is called.
        values: One an epoch, from 0 to ``top``.
        top: The height of the figure.
    """
    across = (WIDTH - _LEFT - _RIGHT) / max(1, len(values) - 1)
    base, high = HEIGHT - _BOTTOM, HEIGHT - _BOTTOM - _TOP
    places = [
        f"{_LEFT + epoch * across:.1f} {base - high * (value / top if top else 0):.1f}"
        for epoch, value in enumerate(values)
    ]
    # a long level stretch is one line
    kept = [
        place
        for number, place in enumerate(places)
        if number in (0, len(places) - 1)
        or not (place.split()[1] == places[number - 1].split()[1] == places[number + 1].split()[1])
    ]
    end = WIDTH - _RIGHT
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="weight of {term} over {epochs} epochs, at most {most:.3g}">'
        '<path class="axis" d="M{left} {up}V{base}H{end}"></path>'
        '<path class="weight" d="M{left} {base}L{line}L{end} {base}"></path>'
        '<text x="{edge}" y="{upper}" text-anchor="end">{top:g}</text>'
        '<text x="{edge}" y="{base}" text-anchor="end">0</text>'
        '<text x="{left}" y="{below}">0</text><text x="{end}" y="{below}" text-anchor="end">epoch {epochs}</text></svg>'
    ).format(
        w=WIDTH, h=HEIGHT, term=term, epochs=len(values), most=max(values), left=_LEFT, up=_TOP, base=base, end=end,
        line="L".join(kept), edge=_LEFT - 6, upper=_TOP + 6, top=top, below=HEIGHT - 6,
    )  # fmt: skip
