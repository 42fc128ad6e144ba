"""What the conformance kit cannot guess: how conditions of a kind of our own look. `realcompo test hello-more` reads this module."""

from hypothesis import strategies as st

from realcompo.testing import TransferContract

from .dots import Dot, Dots

SHARE = st.floats(0, 1, width=32)


class DotsContract(TransferContract):
    component = "hello-more/dots"

    @classmethod
    def conditions(cls):
        dot = st.builds(Dot, phrase=st.just("a cat"), x=SHARE, y=SHARE, radius=st.floats(1e-3, 0.5))
        return st.lists(dot, min_size=1, max_size=3, unique_by=lambda dot: dot.id).map(lambda dots: Dots(items=tuple(dots)))

    @classmethod
    def outlines(cls, condition):
        """In a square picture; in others a disc is wider or narrower in shares of the width, so nothing is said of those."""
        return None
