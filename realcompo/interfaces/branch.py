"""Branch: a denoiser, what it is asked, and what it answers.

Shapes: B pictures, K branches, R regions (the most of any picture of the batch), h × w latent pixels. No torch at run time here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..conditions import Condition
from ..errors import BadOption, WrongLevel
from ..specs import BranchSpec, Options, Traits
from .picking import picked
from .previews import glimpse, rows_of
from .regions import Region, Regions
from .runtime import Runtime
from .step import RANGE, Step

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Inpainting:
    """What an inpainting network is told beside z.

    Attributes:
        mask: (B, 1, h, w), 1 where latents are drawn anew, 0 where they stay.
        around: (B, C, h, w) latents of the pictures whose masked part is grey.
    """

    mask: Tensor
    around: Tensor


@dataclass(frozen=True)
class Request:
    """What a branch is asked to encode, once a run, for the whole batch of B pictures.

    Attributes:
        prompts, negative_prompts: B each, already this branch's own where the recipe gives it one.
        regions: the union over all branches, by id; the order of maps follows it.
        conditions: B conditions of this branch's kind, or B Nones.
        size: (height, width) in pixels.
        guidance_scale: 1 or less means no guidance (one forward pass, not two).
        balanced: other branches of the run are blended with this one.
        inpainting: of branches whose traits say `inpaints`, what is to be drawn anew and what stands around it; None of others.
    """

    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    regions: Regions
    conditions: tuple[Condition | None, ...]
    size: tuple[int, int]
    guidance_scale: float
    balanced: bool = False
    inpainting: Inpainting | None = None


Conditioning = Any
"""What `Branch.encode` returns: the branch's own business, passed back to it unread."""

GuidanceHalf = Literal["conditional", "unconditional"]
"""c or u of the guided prediction u + g·(c − u)."""


@dataclass(frozen=True)
class Prediction:
    """A branch's guided prediction at z.

    Attributes:
        noise: (B, C, h, w), of the branch's own prediction type, at z + shift.
        maps: (B, R, h', w') of the conditional half with a graph to z, only if read.
        shift: (B, C, h, w) δ by which the branch moved z before predicting, or None.
        unconditional: (B, C, h, w) u of the guided prediction, at z + shift, where `predict` has it at hand; it may serve other branches.
    """

    noise: Tensor
    maps: Tensor | None = None
    shift: Tensor | None = None
    unconditional: Tensor | None = None


class Branch(ABC):
    """A denoiser. One network, any number of runs; all that belongs to a run lies in its conditioning.

    Subclasses set `options_class`; the registry builds them as ``Class(spec, options, source=…, device=…, dtype=…)``.
    """

    spec: BranchSpec
    options: Options
    traits: Traits
    region_prompts: ClassVar[tuple[str, ...]] = ()
    """What it draws a region by: "prompt" and "negative_prompt" of its own. A run in which no branch does says so as a remark."""

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        """What can be known without loading weights: the spec's traits, or better, from config files.

        Raises:
            BadCheckpoint: the source is missing or of another architecture.
        """
        if spec.traits is None:
            raise NotImplementedError(f"{cls.__name__} must override inspect, or its spec must state traits")
        return spec.traits

    @classmethod
    def locate(
        cls, spec: BranchSpec, options: Options, prompt: str, regions: Sequence[Region], source: Any = None
    ) -> dict[str, tuple[str, ...]] | None:
        """Region id → the token texts that its maps will be read at, from tokenizer files alone; None if they are not at hand.

        Raises:
            PhraseNotFound: a phrase is not in the prompt or lies past the encoder's last token.
        """
        return None

    @classmethod
    def unread(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> tuple[str, ...] | None:
        """The end of each prompt that its text encoder does not read, "" where it reads all; from tokenizer files alone, None if they are
        not at hand. `source` may be the branch itself, whose tokenizer is loaded."""
        return None

    @classmethod
    def check_prompts(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> None:
        """Refuse prompts that it cannot draw, negative ones too, before weights are loaded: from tokenizer files alone, where they are at
        hand. Here, none is: a prompt that is cut short is told as a remark (`unread`).

        Raises:
            BadOption.
        """
        return None

    @classmethod
    def check_regions(cls, spec: BranchSpec, options: Options, regions: Regions) -> None:
        """Refuse regions that its options name and no picture of a run has, before weights are loaded. Where another picture has it, an
        option that names a region does nothing in a picture without it.

        Args:
            regions: of all pictures of the run, which are drawn in one batch or in several, before a mask limits them.

        Raises:
            BadCondition.
        """
        return None

    @classmethod
    def remarks(cls, spec: BranchSpec, options: Options, balanced: tuple[float, float] | None) -> tuple[str, ...]:
        """What a user should know before a run that can be drawn, but hardly as meant: `realcompo check` prints it as a warning.

        Args:
            balanced: shares of the run at which the steps in which all branches act begin and end; None where there are none.
        """
        return ()

    @abstractmethod
    def __init__(
        self,
        spec: BranchSpec,
        options: Options,
        *,
        source: Any = None,
        device: Any = "cpu",
        dtype: Any = None,
    ) -> None: ...

    @abstractmethod
    def encode(self, request: Request) -> Conditioning:
        """Text, regions and condition to whatever predict and attend need. Once a run; without a graph.

        Raises:
            PhraseNotFound, BadCondition: see errors.py.
        """

    def embeddings(self, conditioning: Conditioning) -> Sequence[Tensor]:
        """What of a conditioning must be finite, (B, …) each: the text's embeddings above all, so that NaN is told where it begins."""
        return ()

    def pick(self, conditioning: Conditioning, pictures: Sequence[int]) -> Conditioning:
        """The conditioning of these pictures of its batch, as if they alone had been encoded, with as many regions as the batch's: any
        order, repeats allowed. So the run asks a branch only for the pictures that want it, and encodes a text once for several noises.

        Here, every tensor in it with a row a picture is indexed (see `picked`), which is what most branches need. A part that is kept
        otherwise can have a method ``pick(pictures)`` of its own.

        Raises:
            PluginProblem: it cannot be seen which tensors have a row a picture.
        """
        told = self.embeddings(conditioning)
        return picked(conditioning, pictures, len(told[0]) if told else None)

    def check_step(self, step: Step) -> None:
        """Refuse a step that is not this branch's; `predict` and `attend` begin with it. A step that tells no schedule passes.

        Raises:
            WrongLevel: its timestep is counted by another process, or its level is none that the network was trained at.
        """
        own, told = self.traits.schedule, step.schedule
        if told is None:
            return
        if told.process != own.process:
            raise WrongLevel(
                f"it was told timestep {step.t:g} of another process: ᾱ = {step.alpha_bar:.3g} is its own timestep "
                f"{own.timestep(own.nearest(step.alpha_bar)):g}",
                where=self.spec.id,
                mend="tell it step.seen_by(branch.traits.schedule)",
            )
        if not own.holds(step.alpha_bar):
            low, high = own.range
            raise WrongLevel(
                f"it was told ᾱ = {step.alpha_bar:.3g}, and was trained from {low:.3g} to {high:.6g}", where=self.spec.id, mend=RANGE
            )

    @abstractmethod
    def predict(self, z: Tensor, step: Step, conditioning: Conditioning, read: bool = False) -> Prediction:
        """Guided prediction at z (B, C, h, w) in the variance-preserving scale. Mutates no input. No graph unless `read`."""

    @abstractmethod
    def attend(self, z: Tensor, step: Step, conditioning: Conditioning) -> Tensor:
        """Cross-attention maps (B, R, h', w') of the conditional half at z, ≥ 0, fp32 (fp64 for fp64 z), differentiable in z;
        runs no more of the network than the maps need. Rows of absent regions are zero."""

    def predict_half(self, z: Tensor, step: Step, conditioning: Conditioning, half: GuidanceHalf, read: bool = False) -> Prediction:
        """One half of the guided prediction, the other not run. A class that defines it beside `predict` promises that `predict` is
        u + g·(c − u), with g the request's guidance scale: the run then leaves the unconditional half out where it is not wanted, or takes
        another branch's for it (see `gives_halves`).

        The conditional half carries the shift, where the branch moves z, and maps if read, as `predict` does; the unconditional half is
        that at z as it is given, and is asked for only where g > 1. No graph unless `read`.
        """
        raise NotImplementedError(f"{self.spec.id} gives no half of its prediction")

    def predict_unguided(self, z: Tensor, step: Step, conditioning: Conditioning) -> Tensor:
        """The conditional half's prediction without guidance, (B, C, h, w): only for the published code's trial step."""
        raise NotImplementedError(f"{self.spec.id} offers no unguided prediction")

    def work(self, step: Step, conditioning: Conditioning) -> Hashable | None:
        """What of the network runs at this step: calls of predict, or of attend, on latents of one shape cost the same wherever this is
        equal. None where that is not known: then each call is counted, which slows it down."""
        return None

    def decode(self, z: Tensor) -> list[Image.Image]:
        """Latents (B, C, h, w) to B pictures. Fidelity branches must override it.

        Raises:
            NotFinite: the pixels of a picture are no numbers.
        """
        raise NotImplementedError(f"{self.spec.id} does not decode: it is a {self.spec.role} branch")

    def encode_pictures(self, pixels: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Clean latents (B, C, h, w) of pictures; the opposite of `decode`. A fidelity branch that is to begin with a picture must override
        it.

        Args:
            pixels: (B, 3, H, W) in [−1, 1], of the run's size.
            generators: B, one a picture, for encoders that draw.
        """
        raise NotImplementedError(f"{self.spec.id} encodes no pictures")

    def preview(self, z: Tensor) -> list[Image.Image]:
        """A quick look at B clean latents (B, C, h, w): a linear map of their channels to RGB, a picture of w × h pixels each; by the full
        decoder where nobody has measured the numbers of the latent space (`LatentSpace.rgb`)."""
        rows = rows_of(self.traits.latent)
        return self.decode(z.to(self.device)) if rows is None else glimpse(z, rows)

    @abstractmethod
    def to(self, device: Any = None, dtype: Any = None) -> Branch:
        """Move the network; returns self."""

    def switch(self, options: Options) -> bool:
        """Take other options without being built again: whether it did. What it draws afterwards is what a branch that is built with them
        draws. Here, it takes only those that it has."""
        return type(options) is type(self.options) and options == self.options

    def tune(self, runtime: Runtime) -> None:
        """Have the networks that run at every step run so, before a run; they may be shared with other branches. Maps stay what they are.

        Raises:
            BadOption: it cannot, or the networks are the caller's own.
        """
        if not runtime.plain:
            raise BadOption(
                f"{self.spec.id} cannot be compiled or laid out otherwise", where="runtime", mend="leave runtime out for this branch"
            )

    @property
    @abstractmethod
    def device(self) -> torch.device: ...

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype: ...

    def __copy__(self) -> Branch:
        """Another holder of the same networks."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Deep copies and pickles would double gigabytes, or write them: refused, unless a plugin's class knows better.

        Raises:
            BadOption: always.
        """
        raise BadOption(
            f"the branch {self.spec.id!r} holds networks, which are not copied deeply or pickled",
            mend="build another (rc.Registry.branch with its id, options and source), or copy or pickle a composer that names it",
        )

    def fingerprint(self) -> dict[str, str]:
        """Part of the checkpoint → digest of its weights; what `reproduce` compares."""
        return {}


def gives_halves(branch: type[Branch]) -> bool:
    """Whether a class of branches gives the halves of its guided prediction: what defines its `predict`, or something derived from it,
    defines its `predict_half`. A subclass that changes `predict` alone gives none: its base's halves would be another prediction's."""
    for cls in branch.__mro__:
        if cls is Branch:
            return False
        if "predict_half" in vars(cls):
            return True
        if "predict" in vars(cls) or "blended" in vars(cls):  # the toolkit's word for how the halves are blended
            return False
    return False
