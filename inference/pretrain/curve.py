"""Draw loss curves as an SVG image."""

from collections.abc import Sequence
from pathlib import Path

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 20, 50

Curve = Sequence[tuple[int, float]]


def draw_losses(train: Curve, held_out: Curve, path: Path) -> None:
    """Write both curves, nats per token over steps, with axes and a legend."""
    losses = [loss for _, loss in (*train, *held_out)]
    steps = [step for step, _ in (*train, *held_out)]
    last = max(steps, default=1)
    low = int(min(losses, default=0.0) * 2) / 2
    high = int(max(losses, default=1.0) * 2 + 1) / 2

    def x_of(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last

    def y_of(loss: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - loss) / (high - low)

    def line(curve: Curve, colour: str) -> str:
        points = " ".join(f"{x_of(step):.1f},{y_of(loss):.1f}" for step, loss in curve)
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for half in range(round(low * 2), round(high * 2) + 1):
        y = y_of(half / 2)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{half / 2}</text>')
    for fifth in range(6):
        step = last * fifth // 5
        parts.append(
            f'<text x="{x_of(step):.1f}" y="{_HEIGHT - _BOTTOM + 18}" '
            f'text-anchor="middle">{step}</text>'
        )
    parts += [
        line(train, "#3566b0"),
        line(held_out, "#c8502d"),
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 10}" text-anchor="middle">step</text>',
        f'<text x="{_WIDTH - 180}" y="44" fill="#3566b0">training, nats per token</text>',
        f'<text x="{_WIDTH - 180}" y="62" fill="#c8502d">held-out, nats per token</text>',
        "</svg>",
    ]
    path.write_text("\n".join(parts) + "\n")
