"""Labels of a figure cover neither each other nor a dot; letters that the font lacks are named."""

from __future__ import annotations

from realcompo.pictures.scatter import HEIGHT, WIDTH, Dot, apart, scatter, written


def covers(labels: list[tuple[float, float]], widths: list[float], high: float) -> int:
    """Pairs of labels that lie on each other."""
    boxes = [(x, y - high / 2, x + w, y + high / 2) for (x, y), w in zip(labels, widths, strict=True)]
    return sum(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for index, a in enumerate(boxes) for b in boxes[index + 1 :])


def test_labels_lie_apart_and_near() -> None:
    anchors = [(200.0, 300.0 + n, 150.0) for n in range(7)] + [(600.0, 302.0, 80.0)]
    found = apart(anchors)
    widths = [width for _, _, width in anchors]
    assert covers([(x, y) for x, y, _ in anchors], widths, 16) > 10, "the control: where they are wanted they cover each other"
    assert covers(found, widths, 16) == 0
    assert found[7] == (600.0, 302.0), "one that is in nobody's way stays"
    assert all(abs(y - wanted) < 100 for (_, y), (_, wanted, _) in zip(found, anchors, strict=True))


def test_labels_leave_dots_free() -> None:
    dot = (230.0, 290.0, 250.0, 310.0)
    ((x, y),) = apart([(200.0, 300.0, 150.0)], [dot])
    assert x > dot[2] or abs(y - 300) > 15


def test_a_letter_that_the_font_lacks_is_named() -> None:
    assert (
        written("the balance of ξ") == "the balance of xi" and written("a × b, σ") == "a × b, sigma" and written("plain 0.5") == "plain 0.5"
    )


def test_the_figure_is_the_same_twice_and_shows_what_leads() -> None:
    dots = [Dot("a", 1.0, 0.5, 0.4, 0.6), Dot("b", 2.0, 0.7)]
    image = scatter(dots, "up", "across")
    assert image.size == (WIDTH, HEIGHT) and image.tobytes() == scatter(dots, "up", "across").tobytes()
    filled = [Dot("a", 1.0, 0.5, 0.4, 0.6, filled=True), dots[1]]
    assert scatter(filled, "up", "across").tobytes() != image.tobytes()
