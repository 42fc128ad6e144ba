"""What draws, before anything is drawn: branches, balancer and schedule, checked before a weight is loaded, and told as a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from ..arguments import flag, shown
from ..errors import BadOption, PlanningError
from ..interfaces import Balancer, Branch, Planner, Region
from ..noise.beginning import begin_late
from ..noise.devices import default_device, torch_dtype, versions
from ..noise.diffusion import Solver
from ..noise.schedulers import check_solver, read_scheduler
from ..plans.planning import PlannedPicture, Task, plan_pictures
from ..recipes.members import Member, member, recommended_steps, same_network, sort_roles
from ..recipes.recipe import (
    DEFAULT_BALANCER,
    BranchEntry,
    Component,
    GuidanceOptions,
    Hires,
    PictureEntry,
    PlannerEntry,
    ProbeOptions,
    Recipe,
    RuntimeOptions,
    plain_data,
    read_part,
)
from ..recipes.worded import worded
from ..registry import Registry, installed
from .assembly import check_compatible, check_few_steps, check_guidance, picture_regions, unite
from .candidates import candidate_remarks, read_candidates
from .canvas import canvas_of
from .copying import Copied
from .guidance import guidance_remarks
from .hires import read_hires, second_pass
from .inputs import size_asked
from .levels import level_remarks, run_levels
from .named import check_named
from .remarks import (
    Unread,
    branch_remarks,
    negative_remarks,
    region_remarks,
    step_remarks,
    text_remarks,
    unread_of_files,
    vocabulary_remarks,
    weight_remarks,
)
from .runtime import check_runtime

NoiseRange = Literal["shared", "held"]


class Ensemble(Copied):
    """What draws, before anything is drawn: the branches, the balancer and the schedule, and what can be known of a run without weights.

    See `Composer` for the arguments.
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
        hires: Any = None,
        candidates: Any = None,
        words: Any = None,
        device: Any = None,
        dtype: Any = None,
        offload: bool = False,
        runtime: RuntimeOptions | Mapping[str, Any] | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.registry = registry or installed()
        spatial = () if spatial is None else spatial
        several = isinstance(spatial, Sequence) and not isinstance(spatial, str)
        fidelity = worded(fidelity, words, "fidelity", self.registry)
        others = [worded(one, words, "spatial", self.registry) for one in (spatial if several else [spatial])]
        self.members = [member(fidelity, "fidelity", self.registry), *(member(one, "spatial", self.registry) for one in others)]
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
        self.hires = read_hires(hires)
        self.candidates = read_candidates(candidates)
        self._planner: tuple[PlannerEntry, Planner] | None = None
        self._branches: list[Branch] | None = None

    @classmethod
    def from_recipe(cls, recipe: Recipe, registry: Registry | None = None) -> Self:
        """The composer of a recipe; its pictures are drawn with `compose(recipe.pictures)`.

        Raises:
            BadOption: a file or a table is given, which has layers of configuration beneath it.
        """
        if not isinstance(recipe, Recipe):
            mend = (
                "rc.run(FILE) draws its pictures, rc.generate(prompt, recipe=FILE) draws with it; a table becomes one by rc.Recipe(**table)"
            )
            raise BadOption(f"from_recipe takes a Recipe, not a {type(recipe).__name__}", mend=mend)
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
            hires=recipe.hires,
            candidates=recipe.candidates,
            words=recipe.words,
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

    def inherit(self, other: Ensemble) -> bool:
        """Take over the branches that another has loaded, which is not to draw any more, where all that sets them apart is what a branch
        can switch (see `Branch.switch`); whether it did."""
        if other._branches is None or self._branches is not None:
            return False
        if (self.device, self.dtype, self.offload) != (other.device, other.dtype, other.offload):
            return False
        mine, theirs = self.members, other.members
        if len(mine) != len(theirs) or not all(same_network(one, two) for one, two in zip(mine, theirs, strict=True)):
            return False
        if not all(branch.switch(m.options(self.registry)) for m, branch in zip(mine, other._branches, strict=True)):
            return False
        self._branches = other._branches
        return True

    def remarks(self, pictures: Sequence[PictureEntry] = ()) -> list[str]:
        """What can be drawn but hardly as meant, such as guidance that ends before the balance begins, or words of `pictures` past a text
        encoder's last token; loads no weights."""
        said = branch_remarks(self.members, self.registry, self.balancer, self.num_inference_steps)
        return said + self._remarks(
            self._solver(self.num_inference_steps), self.members, pictures, unread_of_files(self.members, self.registry)
        )

    def _remarks(self, solver: Solver, members: Sequence[Member], pictures: Sequence[PictureEntry], unread: Unread) -> list[str]:
        """Those of a run by this solver, of branches as they are guided in it."""
        return [
            *step_remarks(solver),
            *guidance_remarks(self.guidance, members, self.registry, solver),
            *level_remarks(self.members, solver, self._holds),
            *text_remarks(members, pictures, unread),
            *vocabulary_remarks(members, pictures, self.registry),
            *negative_remarks(members, pictures, self.registry),
            *region_remarks(members, pictures, self.registry),
            *weight_remarks(members, pictures),
            *candidate_remarks(self.candidates, pictures, self.planner is not None),
        ]

    def check_picture(self, picture: PictureEntry, index: int = 0) -> tuple[Region, ...]:
        """The regions of a picture that has its conditions, once all that its run would refuse before the weights was looked at.

        Args:
            index: of the picture, in messages.

        Raises:
            RealCompoError: as a call.
        """
        canvas = canvas_of([picture], self.size, self.members, self.registry, index)
        if canvas is not None:
            begin_late(self._solver(self.num_inference_steps), self.num_inference_steps, canvas.strength)
        (told,) = (picture,) if canvas is None else canvas.told([picture])
        parts = [picture_regions(self.members, told, self.size, self.registry, f"picture {index}")]
        second_pass(self.hires, [told], self.size, self.num_inference_steps, self.members, self.registry, self._solver)
        return unite(parts if canvas is None else canvas.limited(parts))[0].pictures[0]

    def check_named(self, pictures: Sequence[PictureEntry], size: tuple[int, int] | None = None) -> None:
        """Look whether options name regions that no picture of a run has; pictures may be planned later. Loads no weights.

        Raises:
            BadCondition.
        """
        check_named(self.members, pictures, size or self.size, self.registry)

    def _solver(self, steps: Any, size: tuple[int, int] | None = None) -> Solver:
        """The solver of a run, with its list of noise levels; needs no weights."""
        traits = [m.traits for m in self.members]

        def made(start: float | None) -> Solver:
            return check_solver(self.scheduler, self.scheduler_options, traits, steps, self.device, start, size or self.size)

        solver = run_levels(made, self.members, self.balancer, self._holds)
        check_few_steps(self.members, self.balancer, solver)
        return solver

    @property
    def _holds(self) -> bool:
        return self.noise_range == "held"

    def to(self, device: Any = None, dtype: Any = None) -> Self:
        """Move all branches; returns self."""
        if device is not None:
            self.device = default_device(device)
        if dtype is not None:
            self.dtype = torch_dtype(dtype)
        if self._branches is not None:
            for branch in self._branches:
                branch.to("cpu" if self.offload else self.device, self.dtype)
        return self

    # -- what is known of a run -------------------------------------------------------------------------------------------

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

    def recipe(
        self,
        pictures: Sequence[PictureEntry] = (),
        size: tuple[int, int] | None = None,
        steps: int | None = None,
        members: Sequence[Member] | None = None,
        hires: Hires | None = None,
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
            hires=hires,
            candidates=self.candidates,
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
