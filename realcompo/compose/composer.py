"""Algorithm 1: any fidelity branch and any spatial branches, balanced pixel by pixel at every denoising step.

Read `Composer._denoise` beside the algorithm in the paper; docs/algorithm.md sets them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..arguments import guidances
from ..conditions import Condition
from ..interfaces import Setting, Step
from ..noise.beginning import begin_late
from ..noise.devices import explain_compiler, explain_memory
from ..noise.diffusion import Solver
from ..pictures.result import Result, sign
from ..pictures.trace import Trace
from ..plans.planning import PlannedPicture, Task, raise_first
from ..recipes.members import Member, guided
from ..recipes.recipe import (
    Hires,
    PictureEntry,
)
from .assembly import check_compatible, check_guidance, check_prompts, picture_regions, unite
from .begin import begin
from .candidates import Noises, check_seeds, noises_of
from .canvas import Canvas, canvas_of
from .decided import Decided, decided_in
from .ensemble import Ensemble
from .hires import Second, read_hires, second_pass
from .inputs import PictureInputs, picture_entries, size_asked
from .live import Event, Watch
from .moves import total_shift
from .named import planned_remarks
from .outputs import as_output, check_outputs, returned_latents
from .remarks import unread_of_branches, warn
from .rows import blended
from .run import Run, owners

Progress = Callable[[Step, Event], Any]
Callback = Callable[[Any, int, float, dict[str, Any]], dict[str, Any] | None]
OutputType = Literal["pil", "np", "pt", "latent"]


class Composer(Ensemble):
    """A fidelity branch and spatial branches, ready to draw.

    Args:
        fidelity: an id (``"sd/v1-5"``), a `BranchEntry` or mapping, a `Branch`, or a diffusers pipeline that you hold.
        spatial: one or several of the same; none draws with the fidelity branch alone.
        balancer: an id, a `Component` or a `Balancer`; `balancer_options` are its options.
        probe: how the loss is probed.
        guidance: where classifier-free guidance acts, and against what; its strength is `guidance_scale`.
        scheduler: one of ddim, pndm, euler, euler-ancestral, dpm++-2m, dpm++-2m-karras, unipc, lcm, tcd, flow-euler; or a diffusers
            scheduler object.
        scheduler_options: settings of a scheduler that is given by name, by diffusers' names; an object brings its own.
        noise_range: where branches know different ranges of noise (a flow all of it, a diffusion less): "shared" begins at the most noise
            that every branch acting there knows; "held" begins where the fidelity branch does, the others held at their last timestep.
        num_inference_steps: unless a call says otherwise; what the fidelity branch recommends, or 50.
        planner: id, `Component` or `PlannerEntry` of the planner that fills in missing conditions.
        hires: a second pass at a higher resolution: a scale, or a table (see `realcompo.recipes.recipe.Hires`).
        candidates: how many noises each picture begins with, of which the one that is placed best goes on after the first steps; or a
            table (see `realcompo.recipes.recipe.Candidates`). Until then, a callback's latents are those of all noises (B·N, C, h, w),
            a picture's side by side, and after it rows that were not chosen mean nothing.
        words: how every branch reads its words: a table of prompt_weights, long_prompts, clip_skip, embeddings (docs/words.md).
        device, dtype: of the networks; the best device there is, float32.
        offload: keep on the device only the network that is in use.
        runtime: whether networks are compiled, laid out otherwise, or their projections fused.

    Raises:
        Incompatible, UnknownName, BadOption, BadCheckpoint: before any weight is loaded where it can be known then.
    """

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
        image: Any = None,
        strength: float | None = None,
        mask_image: Any = None,
        mask_feather: int | None = None,
        padding_mask_crop: int | None = None,
        hires: Any = None,
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
            image: a picture to begin with in place of noise, or one a prompt: a path, a PIL picture, an array (H, W, 3) of bytes; of the
                run's shape, to whose size it is brought.
            strength: share of the steps that are drawn over it, in (0, 1]; 0.8, or 1 with a mask.
            mask_image: of the image's size: white is drawn anew, black stays to the bit. Regions act inside it.
            mask_feather: pixels inside the mask over which the new fades in; 4.
            padding_mask_crop: draw only the mask's surroundings, with so many pixels around it, at the run's full size, and paste it back.
            hires: a second pass in place of the composer's; False for none.
            callback_on_step_end: as in diffusers, ``f(composer, index, timestep, {"latents": …}) → dict or None``.
            progress: called after each step, ``f(step, event)``: the event is the step's entry of the trace, shows what the blend expects
                (`Event.clean`, `Event.preview`), and can end the run (`Event.stop`).

        Returns:
            A `Result`.

        Raises:
            BadPicture: an image that cannot be read. BadOption: one of another shape, a mask of another size …
            NotFinite: a picture holds NaN or infinity; the others are drawn first, and are its `result`.
            Stopped: `progress` ended the run; carries what its last step expected, if that was to be kept.
        """
        pictures = picture_entries(
            prompt,
            condition,
            negative_prompt,
            seed,
            generator,
            latents,
            num_images_per_prompt,
            image=image,
            strength=strength,
            mask_image=mask_image,
            mask_feather=mask_feather,
            padding_mask_crop=padding_mask_crop,
        )
        return self._compose(
            pictures,
            size_asked(height, width, self.size),
            self.num_inference_steps if num_inference_steps is None else num_inference_steps,
            guidances(guidance_scale),
            output_type,
            callback_on_step_end,
            progress,
            self.hires if hires is None else read_hires(hires or None),
        )

    def compose(
        self,
        pictures: Sequence[PictureEntry | PlannedPicture],
        *,
        output_type: OutputType = "pil",
        progress: Progress | None = None,
        decided: Sequence[Decided | None] = (),
        part: bool = False,
    ) -> Result:
        """Draw entries of a recipe as one batch; they may be planned already (see `plan`).

        Args:
            part: they are some of a run's pictures, which were looked at together (`check_named`): an option may name a region of others.
            decided: of each picture that was drawn before, what was decided then, which is followed; see `Decided.read`.
        """
        inputs = PictureInputs.of(pictures)
        return self._compose(inputs, self.size, self.num_inference_steps, None, output_type, None, progress, self.hires, decided, part)

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
        hires: Hires | None,
        decided: Sequence[Decided | None] = (),
        part: bool = False,
    ) -> Result:
        check_compatible(self.members, size)
        solver, steps = self._solver(steps, size), int(steps)
        check_outputs(output_type, callback, progress)
        inputs.check(self.members[0].traits.latent, size, self.device)
        check_seeds(inputs, self.candidates)
        canvas = canvas_of(inputs.pictures, size, self.members, self.registry)
        if canvas is not None:
            begin_late(solver, steps, canvas.strength)
        inputs = self._planned(inputs, size)
        if not part:
            self.check_named(inputs.pictures, size)
        over = inputs if canvas is None else replace(inputs, pictures=canvas.told(inputs.pictures))
        second = second_pass(hires, over.pictures, size, steps, self.members, self.registry, self._solver)
        members = guided(self.members, guidance)
        check_guidance(members)
        check_prompts(members, inputs.pictures, self.registry)
        with explain_memory(), explain_compiler():
            noises = Noises(len(inputs.pictures), self.candidates)
            rows = noises_of(over, noises)
            x, run = self._start(members, rows, size, solver, canvas, noises)
            told = self._remarks(solver, members, inputs.pictures, unread_of_branches(members, self.branches))
            if part and self.planner is not None:
                told += planned_remarks(members, inputs.pictures, size, self.registry)
            warn(told)
            run.told = noises.spread(decided) if decided else ()
            watch = Watch(progress, run, passes=1 if second is None else 2)
            try:
                z = run.settle(self._denoise(x, run, rows.generators, callback, watch))
                watch.check()
                if second is not None and watch.stopped is None:
                    over = replace(over, generators=tuple(rows.generators[row] for row in noises.rows))
                    z, run = self._again(z, run, over, second, callback, watch)
                images = run.finite.decode(z, lambda rows: self._decode(rows, run, output_type))
            finally:
                run.sleep()
        run.finish()
        if inputs.latents is not None or callback is not None:
            inputs = inputs.unseeded()  # the caller's latents or callback decide the picture, not the seed alone
        recipe = self.recipe(inputs.pictures, size, steps, members, hires)
        facts = {**self.facts(run.solver), **({"plans": list(inputs.transcripts)} if any(inputs.transcripts) else {}), **watch.facts()}
        facts |= {"decided": found} if any(found := decided_in(run.trace)) else {}
        if output_type != "latent":
            images = as_output(images if canvas is None else canvas.pasted(images, run.finite.good), output_type)
        if output_type == "pil":
            images = sign(images, recipe, facts, run.finite.good)
        result = run.finite.finish(Result(images, run.regions, run.trace, recipe, z, facts, tuple(told)))
        watch.check(result)
        return result

    def _start(
        self,
        members: Sequence[Member],
        inputs: PictureInputs,
        size: tuple[int, int],
        solver: Solver,
        canvas: Canvas | None,
        noises: Noises,
    ) -> tuple[Tensor, Run]:
        """The first latents, and everything that is made once; `inputs` are those of all noises, the canvas is the pictures'."""
        pictures = [inputs.pictures[row] for row in noises.heads]
        parts = [picture_regions(self.members, p, size, self.registry, f"picture {b}") for b, p in enumerate(pictures)]
        regions, owned = unite(noises.spread(parts if canvas is None else canvas.limited(parts)))
        canvas = canvas.of(noises.owners) if canvas is not None and noises.several else canvas
        traits, branches = self.members[0].traits, self.branches  # their weights: what can be wrong before them has been looked at
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
            noises=noises,
        )
        for branch in branches:
            branch.tune(self.runtime.told())
        x = begin(run, canvas, inputs.noise, (traits.latent.channels, h, w))
        run.encode(inputs, size)
        return x, run

    def _again(
        self, z: Tensor, first: Run, inputs: PictureInputs, second: Second, callback: Callback | None, watch: Watch
    ) -> tuple[Tensor, Run]:
        """The second pass, over what the first one drew (z), with the same layout."""
        canvas = second.canvas(z, first.finite, self.members[0].traits.latent.downscale, lambda rows: self._decode(rows, first, "pil"))
        inputs = replace(inputs, latents=None)
        x, run = self._start(first.members, inputs, second.size, second.solver, canvas, Noises(len(inputs.pictures)))
        run.follow(first)
        watch.follow(run)
        z = self._denoise(x, run, inputs.generators, callback, watch)
        watch.check()
        return z, run

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
            run.choose(z, step)  # of several noises a picture, the best placed
            needs = balancer.needs(state, step)
            z, moved = run.move(z, step, needs.moves)  # z ← z − η ∇_z L
            acting = run.acting(needs)  # which branches, and in which pictures
            due = needs.probe and run.probe_is_due()
            predictions = run.predictions_of(acting, z, step, needs, due)

            probed = None
            if due:
                state, probed = balancer.update(state, step, run.trial(z, step, acting, predictions))  # Eq. 7, 12

            weights = run.finite.see("weights", balancer.weights(state, step), step, dim=1)  # Eq. 2
            noise, shift = blended(weights, acting, predictions)  # Eq. 3
            x = run.finite.clean("solver", solver.step(x, noise, step, total_shift(moved, shift), generators), step)
            x = run.keep(x, step)
            state, decided = run.decide(balancer, state, step, moved)  # feedback: what the maps of this step say of the next

            entry = run.record(step, acting, weights, probed, moved, decided)
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
        """Pictures of latents, or the latents."""
        if output_type == "latent":
            return z
        with run.awake(0) as branch:
            return run.meter.count("decode", None, lambda: branch.decode(z.to(branch.device)))
