"""An upscaler: as large as asked by a bicubic kernel, then sharpened."""

from PIL import Image, ImageFilter

from realcompo.interfaces import Upscaler


class Crisp(Upscaler):
    def __call__(self, pictures, size):
        """B pictures of size (height, width)."""
        larger = [one.resize((size[1], size[0]), Image.Resampling.BICUBIC) for one in pictures]
        return [one.filter(ImageFilter.UnsharpMask(radius=2, percent=60)) for one in larger]
