"""Algorithm 1: any fidelity branch and any spatial branches, balanced pixel by pixel at every denoising step.

Read `Composer._denoise` beside the algorithm in the paper; docs/algorithm.md sets them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..arguments import flag, guidances, shown
from ..conditions import Condition
from ..errors import BadOption, PlanningError
from ..interfaces import Balancer, Branch, Planner, Setting, Step
from ..noise.devices import default_device, explain_compiler, explain_memory, torch_dtype, versions
from ..noise.diffusion import Solver
from ..noise.schedulers import check_solver, read_scheduler
from ..pictures.result import Result, sign
from ..pictures.trace import Trace
from ..plans.planning import PlannedPicture, Task, plan_pictures, raise_first
from ..recipes.members import Member, guided, member, recommended_steps, sort_roles
from ..recipes.recipe import (
    DEFAULT_BALANCER,
    BranchEntry,
    Component,
    GuidanceOptions,
    PictureEntry,
    PlannerEntry,
    ProbeOptions,
    Recipe,
    RuntimeOptions,
    plain_data,
    read_part,
)
from ..registry import Registry, installed
from .assembly import check_compatible, check_guidance, check_prompts, picture_regions, unite
from .copying import Copied
from .guidance import guidance_remarks
from .inputs import PictureInputs, picture_entries, size_asked
from .levels import level_remarks, run_levels
from .live import Event, Watch
from .moves import total_shift
from .probe import blend, blend_shifts
from .remarks import step_remarks, text_remarks, unread_of_branches, unread_of_files, warn
from .run import Run, check_outputs, owners, remarks, returned_latents
from .runtime import check_runtime

Progress = Callable[[Step, Event], Any]
Callback = Callable[[Any, int, float, dict[str, Any]], dict[str, Any] | None]
OutputType = Literal["pil", "np", "pt", "latent"]
NoiseRange = Literal["shared", "held"]


class Composer(Copied):
    """A fidelity branch and spatial branches, ready to draw.

    Args:
        fidelity: an id (``"sd/v1-5"``), a `BranchEntry` or mapping, a `Branch`, or a diffusers pipeline that you hold.
        spatial: one or several of the same; none draws with the fidelity branch alone.
        balancer: an id, a `Component` or a `Balancer`; `balancer_options` are its options.
        probe: how the loss is probed.
        guidance: where classifier-free guidance acts, and against what; its strength is `guidance_scale`.
        scheduler: one of ddim, pndm, euler, euler-ancestral, dpm++-2m, dpm++-2m-karras, unipc, flow-euler; or a diffusers
            scheduler object.
        scheduler_options: settings of a scheduler that is given by name, by diffusers' names; an object brings its own.
        noise_range: where branches know different ranges of noise (a flow all of it, a diffusion less): "shared" begins at the most noise
            that every branch acting there knows; "held" begins where the fidelity branch does, the others held at their last timestep.
        num_inference_steps: unless a call says otherwise; what the fidelity branch recommends, or 50.
        planner: id, `Component` or `PlannerEntry` of the planner that fills in missing conditions.
        device, dtype: of the networks; the best device there is, float32.
        offload: keep on the device only the network that is in use.
        runtime: whether networks are compiled, laid out otherwise, or their projections fused.

    Raises:
        Incompatible, UnknownName, BadOption, BadCheckpoint: before any weight is loaded where it can be known then.
    """

    def __init__(
        self,
        fidelity: Any,
        spatial: Any = (),
        *,
        balancer: str | Component | Balancer = DEFAULT_BALANCER,
        balancer_options: Mapping[str, Any] | None = None,
        probe: ProbeOptions | Mapping[str, Any] | None = None,
        guidance: GuidanceOptions | Mapping[str, Any] | None = None,
        scheduler: Any = "ddim",
        scheduler_options: Mapping[str, Any] | None = None,
        noise_range: NoiseRange = "shared",
        num_inference_steps: int | None = None,
        height: int | None = None,
        width: int | None = None,
        planner: str | Component | Mapping[str, Any] | None = None,
        device: Any = None,
        dtype: Any = None,
        offload: bool = False,
        runtime: RuntimeOptions | Mapping[str, Any] | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.registry = registry or installed()
        spatial = () if spatial is None else spatial
        several = isinstance(spatial, Sequence) and not isinstance(spatial, str)
        self.members = [
            member(fidelity, "fidelity", self.registry),
            *(member(one, "spatial", self.registry) for one in (spatial if several else [spatial])),
        ]
        names = [m.name for m in self.members]
        if len(set(names)) < len(names) and len({id(m.ready) for m in self.members}) < len(names):
            raise BadOption(f"a branch is named twice: {', '.join(names)}", mend="give each branch once")
        traits = self.members[0].traits
        self.scheduler, self.scheduler_options = read_scheduler(scheduler, scheduler_options, traits.schedule, traits.prediction_type)
        self.size = size_asked(height, width, traits.default_size)
        check_compatible(self.members, self.size)
        check_guidance(self.members)
        self.device = default_device(device)
        self.dtype = torch_dtype(dtype)
        self.offload = flag("offload", offload)
        if noise_range not in ("shared", "held"):
            raise BadOption(f"noise_range = {shown(noise_range)}", mend="one of 'shared', 'held'")
        self.noise_range: NoiseRange = noise_range
        self.runtime = (
            runtime if isinstance(runtime, RuntimeOptions) else read_part(RuntimeOptions, {} if runtime is None else runtime, "runtime")
        )
        check_runtime(self.runtime.told(), self.members, self.registry, self.device)
        if isinstance(balancer, Balancer):
            self.balancer, self._balancer_name = balancer, type(balancer).__name__
        else:
            named = {"name": balancer, "options": balancer_options or {}} if isinstance(balancer, str) else balancer
            asked = named if isinstance(named, Component) else read_part(Component, named, "a balancer")
            self.balancer, self._balancer_name = self.registry.balancer(asked.name, asked.options), asked.name
        steps = recommended_steps(self.members[0].spec) if num_inference_steps is None else num_inference_steps
        self._solver(steps)
        self.num_inference_steps = int(steps)
        self.probe = probe if isinstance(probe, ProbeOptions) else read_part(ProbeOptions, {} if probe is None else probe, "probe")
        told = {} if guidance is None else guidance
        self.guidance = told if isinstance(told, GuidanceOptions) else read_part(GuidanceOptions, told, "guidance")
        if planner is None or isinstance(planner, Component):
            self.planner = None if planner is None else PlannerEntry.model_validate(planner)
        else:
            self.planner = read_part(PlannerEntry, {"name": planner} if isinstance(planner, str) else planner, "planner")
        self._planner: tuple[PlannerEntry, Planner] | None = None
        self._branches: list[Branch] | None = None

    @classmethod
    def from_recipe(cls, recipe: Recipe, registry: Registry | None = None) -> Composer:
        """The composer of a recipe; its pictures are drawn with `compose(recipe.pictures)`."""
        registry = registry or installed()
        fidelity, spatial = sort_roles(recipe.branches, registry)
        return cls(
            fidelity,
            spatial,
            balancer=recipe.balancer,
            probe=recipe.probe,
            guidance=recipe.guidance,
            scheduler=recipe.scheduler,
            scheduler_options=recipe.scheduler_options,
            noise_range=recipe.noise_range,
            num_inference_steps=recipe.num_inference_steps,
            height=recipe.height,
            width=recipe.width,
            planner=recipe.planner,
            device=recipe.device,
            dtype=recipe.dtype,
            offload=recipe.offload,
            runtime=recipe.runtime,
            registry=registry,
        )

    @property
    def branches(self) -> list[Branch]:
        """The K branches, fidelity first; their weights are loaded when first asked for."""
        if self._branches is None:
            home = "cpu" if self.offload else self.device
            self._branches = [m.build(self.registry, home, self.dtype) for m in self.members]
        return self._branches

    def remarks(self, pictures: Sequence[PictureEntry] = ()) -> list[str]:
        """What can be drawn but hardly as meant, such as guidance that ends before the balance begins, or words of `pictures` past a text
        encoder's last token; loads no weights."""
        solver = self._solver(self.num_inference_steps)
        return [
            *remarks(self.members, self.registry, self.balancer, self.num_inference_steps),
            *step_remarks(solver),
            *guidance_remarks(self.guidance, self.members, self.registry, solver),
            *level_remarks(self.members, solver, self._holds),
            *text_remarks(self.members, pictures, unread_of_files(self.members, self.registry)),
        ]

    def _solver(self, steps: Any, size: tuple[int, int] | None = None) -> Solver:
        """The solver of a run, with its list of noise levels; needs no weights."""
        traits = [m.traits for m in self.members]

        def made(start: float | None) -> Solver:
            return check_solver(self.scheduler, self.scheduler_options, traits, steps, self.device, start, size or self.size)

        return run_levels(made, self.members, self.balancer, self._holds)

    @property
    def _holds(self) -> bool:
        return self.noise_range == "held"

    def to(self, device: Any = None, dtype: Any = None) -> Composer:
        """Move all branches; returns self."""
        if device is not None:
            self.device = default_device(device)
        if dtype is not None:
            self.dtype = torch_dtype(dtype)
        if self._branches is not None:
            for branch in self._branches:
                branch.to("cpu" if self.offload else self.device, self.dtype)
        return self

    # -- drawing ---------------------------------------------------------------------------------------------------------

    def __call__(
        self,
        prompt: str | Sequence[str],
        condition: Condition | Mapping[str, Condition] | Sequence[Any] | None = None,
        *,
        negative_prompt: str | Sequence[str] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | Mapping[str, float] | None = None,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        seed: int | Sequence[int] | None = None,
        latents: Tensor | None = None,
        num_images_per_prompt: int = 1,
        output_type: OutputType = "pil",
        callback_on_step_end: Callback | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Draw a batch: every picture has its own prompt, condition, number of regions and seed.

        Args:
            prompt: one, or B.
            num_inference_steps, height, width: whole numbers; the composer's own where they are None.
            condition: one, B, or a table of kind or branch name → condition; planned where it is None and there is a planner.
            guidance_scale: one for all branches, or a table of branch name → scale.
            seed: of the first picture (the others count on from it), or one a picture; the same seed draws the same
                picture alone and in a batch.
            generator: in place of seed, as in diffusers.
            latents: (B, C, h, w) unit noise to start from.
            callback_on_step_end: as in diffusers, ``f(composer, index, timestep, {"latents": …}) → dict or None``.
            progress: called after each step, ``f(step, event)``: the event is the step's entry of the trace, shows what the blend expects
                (`Event.clean`, `Event.preview`), and can end the run (`Event.stop`).

        Returns:
            A `Result`.

        Raises:
            NotFinite: a picture holds NaN or infinity; the others are drawn first, and are its `result`.
            Stopped: `progress` ended the run; carries what its last step expected, if that was to be kept.
        """
        pictures = picture_entries(prompt, condition, negative_prompt, seed, generator, latents, num_images_per_prompt)
        return self._compose(
            pictures,
            size_asked(height, width, self.size),
            self.num_inference_steps if num_inference_steps is None else num_inference_steps,
            guidances(guidance_scale),
            output_type,
            callback_on_step_end,
            progress,
        )

    def plan(self, tasks: Sequence[Task], size: tuple[int, int] | None = None) -> list[PlannedPicture | PlanningError]:
        """Each picture with the conditions that it lacks, or why there are none: all asked of the planner at once. Loads no weights.

        Raises:
            BadOption: there is no planner.
        """
        if self.planner is None:
            raise BadOption("the recipe names no planner", mend='add planner = "mini/planner", or another of `realcompo list`')
        if self._planner is None or self._planner[0] != self.planner:  # kept: it remembers how its server wants to be asked
            self._planner = (self.planner, self.registry.planner(self.planner.name, self.planner.options))
        return plan_pictures(self._planner[1], self.members, tasks, size or self.size, self.planner.use)

    def compose(
        self,
        pictures: Sequence[PictureEntry | PlannedPicture],
        *,
        output_type: OutputType = "pil",
        progress: Progress | None = None,
    ) -> Result:
        """Draw entries of a recipe as one batch; they may be planned already (see `plan`)."""
        inputs = PictureInputs.of(pictures)
        return self._compose(inputs, self.size, self.num_inference_steps, None, output_type, None, progress)

    @torch.no_grad()
    def _compose(
        self,
        inputs: PictureInputs,
        size: tuple[int, int],
        steps: int,
        guidance: float | Mapping[str, float] | None,
        output_type: OutputType,
        callback: Callback | None,
        progress: Progress | None,
    ) -> Result:
        check_compatible(self.members, size)
        solver, steps = self._solver(steps, size), int(steps)
        check_outputs(output_type, callback, progress)
        inputs.check(self.members[0].traits.latent, size, self.device)
        inputs = self._planned(inputs, size)
        parts = [picture_regions(self.members, p, size, self.registry, f"picture {b}") for b, p in enumerate(inputs.pictures)]
        members = guided(self.members, guidance)
        check_guidance(members)
        check_prompts(members, inputs.pictures, self.registry)
        with explain_memory(), explain_compiler():
            x, run = self._start(members, inputs, parts, size, solver)
            told = [
                *step_remarks(solver),
                *guidance_remarks(self.guidance, members, self.registry, solver),
                *level_remarks(self.members, solver, self._holds),
                *text_remarks(members, inputs.pictures, unread_of_branches(members, self.branches)),
            ]
            warn(told)
            watch = Watch(progress, run)
            try:
                z = self._denoise(x, run, inputs.generators, callback, watch)
                watch.check()
                images = run.finite.decode(z, lambda rows: self._decode(rows, run, output_type))
            finally:
                run.sleep()
        run.trace.cost = run.meter.cost()
        if inputs.latents is not None or callback is not None:
            inputs = inputs.unseeded()  # the caller's latents or callback decide the picture, not the seed alone
        recipe = self.recipe(inputs.pictures, size, steps, members)
        facts = {**self.facts(run.solver), **({"plans": list(inputs.transcripts)} if any(inputs.transcripts) else {}), **watch.facts()}
        if output_type == "pil":
            images = sign(images, recipe, facts, run.finite.good)
        result = run.finite.finish(Result(images, run.regions, run.trace, recipe, z, facts, tuple(told)))
        watch.check(result)
        return result

    def _start(
        self,
        members: Sequence[Member],
        inputs: PictureInputs,
        parts: Sequence[Any],
        size: tuple[int, int],
        solver: Solver,
    ) -> tuple[Tensor, Run]:
        """The first latents, and everything that is made once."""
        traits, branches = self.members[0].traits, self.branches
        regions, owned = unite(parts)
        h, w = size[0] // traits.latent.downscale, size[1] // traits.latent.downscale
        precision = torch.float64 if any(b.dtype == torch.float64 for b in branches) else torch.float32
        run = Run(
            members=members,
            branches=branches,
            solver=solver,
            regions=regions,
            setting=Setting(
                names=tuple(m.name for m in members),
                roles=tuple(m.role for m in members),
                masks=regions.masks(h, w).to(self.device, precision),
                owners=owners(owned, regions).to(self.device),
                generators=inputs.generators,
                kinds=tuple(m.spec.condition if m.role == "spatial" else None for m in members),
            ),
            options=self.probe,
            guidance=self.guidance,
            trace=Trace(tuple(m.name for m in members)),
            offload=self.device if self.offload else None,
            hold=self._holds,
        )
        noise = inputs.noise((traits.latent.channels, h, w)).to(self.device, precision)
        for branch in branches:
            branch.tune(self.runtime.told())
        run.encode(inputs, size)
        return run.solver.start(noise), run

    # -- Algorithm 1 -----------------------------------------------------------------------------------------------------

    def _denoise(
        self,
        x: Tensor,
        run: Run,
        generators: Sequence[torch.Generator],
        callback: Callback | None,
        watch: Watch,
    ) -> Tensor:
        """From noise to clean latents (B, C, h, w); x is z in the solver's own scale."""
        balancer, solver = self.balancer, run.solver
        state, x = balancer.start(run.setting), run.finite.clean("latents", x)
        for step in solver.steps:
            z = solver.view(x, step)
            needs = balancer.needs(state, step)
            z, moved = run.move(z, step, needs.moves)  # z ← z − η ∇_z L
            acting = [k for k, acts in enumerate(needs.branches) if acts]
            due = needs.probe and run.probe_is_due()
            predictions = run.predictions(acting, z, step, run.reads(needs, due, step))
            noises, shifts = [p.noise for p in predictions], [p.shift for p in predictions]

            probed = None
            if due:
                state, probed = balancer.update(state, step, run.trial(z, step, noises, shifts))  # Eq. 7, 12

            weights = run.finite.see("weights", balancer.weights(state, step), step, dim=1)  # Eq. 2
            noise, shift = blend(weights[acting], noises), blend_shifts(weights[acting], shifts)  # Eq. 3
            x = run.finite.clean("solver", solver.step(x, noise, step, total_shift(moved, shift), generators), step)

            entry = run.record(step, acting, weights, probed, moved)
            if callback is not None:
                x = returned_latents(callback(self, step.index, step.t, {"latents": x}), x)
                x = run.finite.clean("callback", x, step)
            expected = watch.tell(step, entry, z, noise, shift)
            if expected is not None:
                return expected
            if run.finite.lost:
                break
        return x

    # -- before and after ------------------------------------------------------------------------------------------------

    def _planned(self, inputs: PictureInputs, size: tuple[int, int]) -> PictureInputs:
        """Conditions that a spatial branch lacks, from the planner if there is one."""
        if self.planner is None:
            return inputs
        return inputs.planned(raise_first(self.plan([Task(picture) for picture in inputs.pictures], size)))

    def _decode(self, z: Tensor, run: Run, output_type: OutputType) -> Any:
        if output_type == "latent":
            return z
        with run.awake(0) as branch:
            images = run.meter.count("decode", None, lambda: branch.decode(z.to(branch.device)))
        if output_type == "pil":
            return images
        arrays = np.stack([np.asarray(image, dtype=np.float32) / 255 for image in images])
        return arrays if output_type == "np" else torch.from_numpy(arrays).permute(0, 3, 1, 2)

    def recipe(
        self,
        pictures: Sequence[PictureEntry] = (),
        size: tuple[int, int] | None = None,
        steps: int | None = None,
        members: Sequence[Member] | None = None,
    ) -> Recipe:
        """What this composer is, as a recipe that draws `pictures`."""
        height, width = size or self.size
        return Recipe(
            branches=tuple(self._stated(m) for m in members or self.members),
            balancer=Component(name=self._balancer_name, options=self.balancer.options.model_dump(mode="json")),
            probe=self.probe,
            guidance=self.guidance,
            planner=self.planner,
            scheduler=self.scheduler,
            scheduler_options=plain_data(self.scheduler_options),
            noise_range=self.noise_range,
            num_inference_steps=steps or self.num_inference_steps,
            height=height,
            width=width,
            device=str(self.device),
            dtype=str(self.dtype).removeprefix("torch."),
            offload=self.offload,
            runtime=self.runtime,
            pictures=tuple(pictures),
        )

    def _stated(self, m: Member) -> BranchEntry:
        """A member's entry with every option written out, so that a default that changes later changes no old picture."""
        stated = {"role": m.role, "guidance_scale": m.guidance_scale, "options": m.options(self.registry).model_dump(mode="json")}
        return m.entry.model_copy(update=stated)

    def facts(self, solver: Solver) -> dict[str, Any]:
        """What else decides the pixels: fingerprints of the weights, the scheduler's config, versions."""
        return {
            "weights": {m.name: branch.fingerprint() for m, branch in zip(self.members, self.branches, strict=True)},
            "scheduler": solver.config,
            "versions": versions([self.registry.distribution(m.spec.id) for m in self.members if m.spec.id in self.registry.branches]),
        }
