from PIL import Image

from realcompo.interfaces import Upscaler


class Plain(Upscaler):
    def __call__(self, pictures: list[Image.Image], size: tuple[int, int]) -> list[Image.Image]:
        height, width = size
        return [one.resize((width, height)) for one in pictures]
