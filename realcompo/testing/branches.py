"""The contract of branches. Shapes: B pictures, R regions, latents (B, C, h, w), maps (B, R, h', w')."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from ..errors import WrongLevel
from ..interfaces import Branch, Step, gives_halves
from ..specs import FlowSchedule, NoiseSchedule, Traits
from ..testing import watch
from .branch_use import Asked, BranchUse
from .watch import relative


class BranchContract(BranchUse):
    """What every branch keeps to. Override, beside `ComponentContract`'s:

    Attributes:
        sample: ``{"prompt": …, "boxes": {phrase: box}}``, with two regions or more; the spec's own by default.
        size: (height, width) in pixels of the test's pictures; the branch's default size where it is None.
        guidance_scale: of the test.
        double: whether the network computes in float64 throughout when it is in float64; some norms and rotary embeddings fall back to
            float32 inside, and there differences are taken in float32 from the start.
        tolerance: how far, relative to the largest number, a batch may be from its pictures alone.

    and `source()`, where the weights are neither in the package nor of a family that a small random checkpoint stands for.
    """

    # -- checks: before weights ------------------------------------------------------------------------------------------

    def test_traits_are_known_without_weights(self) -> None:
        """`inspect` says what the loaded branch says, and builds no network for it."""
        loaded = self.branch().traits
        with mock.patch.object(nn.Module, "__init__", autospec=True, side_effect=AssertionError("inspect builds a network")):
            known = self.host().inspect(self.component, self.options, self.source())
        assert isinstance(known, Traits)
        assert known == loaded

    # -- checks: noise ---------------------------------------------------------------------------------------------------

    def test_noise_keeps_shape_and_dtype(self) -> None:
        z = self.latents()
        noise = self.predicted().noise
        assert (noise.shape, noise.dtype) == (z.shape, z.dtype)

    def test_noise_is_finite(self) -> None:
        assert bool(self.predicted().noise.isfinite().all())

    def test_noise_is_deterministic(self) -> None:
        first, second = self.predicted().noise, self.predicted().noise
        assert torch.equal(first.nan_to_num(), second.nan_to_num()), "the same z, step and conditioning gave another noise"

    def test_prompt_moves_the_noise(self) -> None:
        """Another prompt with the same regions is another prediction: a prompt that is ignored passes every other check."""
        full, fewer = self.pictures()
        if full.prompt == fewer.prompt:
            pytest.skip("the sample has one prompt only")
        here = self.predicted(Asked(full.prompt, fewer.regions, fewer.condition))
        assert relative(here.noise, self.predicted(fewer).noise) > 1e-5

    def test_condition_moves_the_noise(self) -> None:
        """The same prompt with another condition is another prediction (or another shift)."""
        if self.spec().role != "spatial" or self.spec().condition is None:
            pytest.skip("it takes no condition")
        full, fewer = self.pictures()
        one, other = self.predicted(full), self.predicted(Asked(full.prompt, fewer.regions, fewer.condition))
        shift = 0.0 if one.shift is None or other.shift is None else relative(one.shift, other.shift)
        assert max(relative(one.noise, other.noise), shift) > 1e-5

    def test_shift_is_declared(self) -> None:
        """Only a branch whose traits say `moves_latents` carries a shift δ, of z's shape."""
        shift = self.predicted().shift
        assert shift is None or (self.branch().traits.moves_latents and shift.shape == self.latents().shape)

    def test_no_graph_is_left(self) -> None:
        """Neither encode nor an unread predict keeps a graph, whatever the caller's grad mode is: it would hold a network's memory."""
        branch = self.branch()
        with watch.training(watch.networks(branch)), torch.enable_grad():
            conditioning = branch.encode(self.request(*self.pictures()))
            prediction = branch.predict(self.latents(), self.step(), conditioning)
        graphs = [path for path, value in watch.tensors(conditioning).items() if value.grad_fn is not None]
        assert not graphs, f"encode leaves a graph in {graphs}"
        assert prediction.noise.grad_fn is None, "predict leaves a graph although it was not asked to read"

    def test_inputs_are_not_mutated(self) -> None:
        """z and the conditioning are as they were after predict, read or not, and attend."""
        conditioning, z = self.encoded(), self.latents()
        before = watch.snapshot((conditioning, z))
        with torch.no_grad():
            self.branch().predict(z, self.step(), conditioning)
            self.branch().predict(z, self.step(), conditioning, read=True)
            self.branch().attend(z, self.step(), conditioning)
        assert not watch.changed(before, (conditioning, z))

    # -- checks: noise levels --------------------------------------------------------------------------------------------

    @classmethod
    def refuses(cls, step: Step) -> str | None:
        """What of predict and attend takes a step that is not the branch's; None where both refuse it by its id."""
        branch, conditioning, taken = cls.branch(), cls.encoded(), []
        for name in ("predict", "attend"):
            try:
                with torch.no_grad():
                    getattr(branch, name)(cls.latents(), step, conditioning)
            except WrongLevel as error:
                if cls.spec().id in str(error):
                    continue
            taken.append(name)
        return " and ".join(taken) or None

    def test_timesteps_of_another_process_are_refused(self) -> None:
        """Told the step as another process counts it, predict and attend raise `WrongLevel`, which names the branch (`check_step`): the
        network would take the noise for more or less than it is."""
        own = self.branch().traits.schedule
        for other in (FlowSchedule(), NoiseSchedule(beta_start=0.0001, beta_end=0.02, beta_schedule="linear", num_train_timesteps=500)):
            if other.process != own.process:
                taken = self.refuses(self.step().seen_by(other, hold=True))
                assert taken is None, f"{taken} takes a timestep of another process"

    def test_levels_outside_its_range_are_refused(self) -> None:
        """More noise than the branch was trained at is a `WrongLevel` that names it."""
        own = self.branch().traits.schedule
        if own.range[0] == 0:
            pytest.skip("its process knows all noise")
        loud = replace(self.step(), alpha_bar=own.range[0] / 4, schedule=own)
        taken = self.refuses(loud)
        assert taken is None, f"{taken} takes more noise than the branch was trained at"

    # -- checks: maps ----------------------------------------------------------------------------------------------------

    def test_maps_have_a_row_for_each_region(self) -> None:
        maps = self.attended()
        regions = self.request(*self.pictures()).regions
        assert maps.ndim == 4 and maps.shape[:2] == (len(regions), regions.most)
        assert maps.dtype == torch.float32

    def test_maps_are_nonnegative(self) -> None:
        assert bool((self.attended() >= 0).all())

    def test_maps_of_absent_regions_are_zero(self) -> None:
        present = self.request(*self.pictures()).regions.present()
        sums = _rows(self.attended(), present.shape[1]).abs().sum(dim=(2, 3))
        assert bool((sums[~present] == 0).all()), "a picture without the region has a map of it"
        assert bool((sums[present] > 0).all()), "a region that is there has an empty map"

    def test_maps_follow_the_order_of_regions(self) -> None:
        """Maps are keyed by region: the regions in another order are the same maps in that order."""
        full, _ = self.pictures()
        maps = _rows(self.attended(full), len(full.regions))
        turned = self.attended(Asked(full.prompt, full.regions[::-1], full.condition))
        assert relative(maps.flip(1), turned) < self.tolerance

    def test_predict_reads_what_attend_sees(self) -> None:
        """With `read`, predict gives attend's maps and the same noise; without, no maps."""
        plain, read = self.predicted(), self.predicted(read=True)
        assert plain.maps is None, "maps were not asked for"
        assert read.maps is not None, "maps were asked for"
        assert relative(read.maps.detach(), self.attended()) < self.tolerance
        assert relative(read.noise.detach(), plain.noise) < self.tolerance

    # -- checks: halves --------------------------------------------------------------------------------------------------

    def test_halves_make_the_guided_prediction(self) -> None:
        """Where the class gives halves, `predict` is u + g·(c − u) of them, with g the request's; c carries predict's shift and maps."""
        branch, step, z = self.branch(), self.step(), self.latents()
        if not gives_halves(type(branch)):
            pytest.skip("its class does not define predict_half beside predict")
        conditioning, whole = self.encoded(), self.predicted(read=True)
        with torch.no_grad():
            conditional = branch.predict_half(z.clone(), step, conditioning, "conditional", read=True)
            moved = z if conditional.shift is None else z + conditional.shift
            unconditional = branch.predict_half(moved, step, conditioning, "unconditional").noise
        guided = unconditional + self.guidance_scale * (conditional.noise - unconditional)
        if guided.shape != whole.noise.shape or not bool(whole.noise.isfinite().all()):
            pytest.skip("its noise is no noise: the checks of noise say why")
        assert relative(guided, whole.noise) < self.guidance_scale * self.tolerance, "they are halves of another prediction"
        if whole.unconditional is not None:
            assert relative(unconditional, whole.unconditional) < self.tolerance, "predict tells another unconditional half"
        assert (conditional.shift is None) == (whole.shift is None)
        assert conditional.maps is not None and whole.maps is not None, "maps were asked for"
        assert relative(conditional.maps, whole.maps.detach()) < self.tolerance

    # -- checks: the gradient --------------------------------------------------------------------------------------------

    def _slope(self, branch: Branch, dtype: torch.dtype) -> tuple[Any, Tensor, Tensor | None]:
        """A scalar of the maps as a function of z, a z, and its gradient there (None if it does not depend on z)."""
        conditioning, step = self.encoded(branch), self.step()
        z = self.latents(dtype=dtype).requires_grad_()
        with torch.enable_grad():
            maps = branch.attend(z, step, conditioning)
            mix = torch.rand(maps.shape, generator=torch.Generator().manual_seed(6), dtype=maps.dtype)
            slope = torch.autograd.grad((maps * mix).sum(), z, allow_unused=True)[0] if maps.requires_grad else None

        def value(at: Tensor) -> float:
            with torch.no_grad():
                return float((branch.attend(at, step, conditioning) * mix).sum(dtype=torch.float64))

        return value, z.detach(), slope

    def test_gradient_reaches_the_latents(self) -> None:
        """∂maps/∂z is there, finite, and not zero in any picture."""
        _, _, slope = self._slope(self.branch(), torch.float32)
        assert slope is not None, "the maps have no graph to z"
        assert bool(slope.isfinite().all())
        assert bool((slope.flatten(1).abs().amax(dim=1) > 0).all()), "the gradient is zero"

    def test_gradient_agrees_with_finite_differences(self) -> None:
        """Along the gradient and along a random direction; in float64 where the branch can."""
        branch, dtype = self.branch(), torch.float32
        try:
            precise = self.build(torch.float64 if self.double else torch.float32)
            if (
                precise.dtype == torch.float64
                and precise.attend(self.latents(dtype=torch.float64), self.step(), self.encoded(precise)).dtype == torch.float64
            ):
                branch, dtype = precise, torch.float64
        except Exception:  # a stranger's branch may refuse float64 in its own way; float32 will do
            pass
        value, z, slope = self._slope(branch, dtype)
        if slope is None or not bool(slope.any()) or not bool(slope.isfinite().all()):
            pytest.skip("there is no gradient to compare: test_gradient_reaches_the_latents says why")
        far, tolerance = (1e-3, 1e-3) if dtype == torch.float64 else (0.1, 0.1)
        steepest = slope / slope.norm()
        random = torch.randn(z.shape, generator=torch.Generator().manual_seed(7), dtype=dtype)
        for direction in (steepest, (random / random.norm() + steepest) / 2):
            measured = (value(z + far * direction) - value(z - far * direction)) / (2 * far)
            assert float((slope * direction).sum()) == pytest.approx(measured, rel=tolerance)

    # -- checks: what is borrowed is handed back -------------------------------------------------------------------------

    def test_hooks_are_gone_after_use(self) -> None:
        branch = self.build()
        before = watch.hooks(watch.networks(branch))
        self.use(branch, self.encoded(branch))
        assert watch.hooks(watch.networks(branch)) == before

    def test_hooks_are_gone_after_an_error(self) -> None:
        """An error in the first, a middle or the last module that runs leaves nothing behind, and reaches the caller."""
        branch = self.build()
        conditioning, modules = self.encoded(branch), watch.networks(branch)
        running = watch.called(modules, lambda: branch.attend(self.latents(), self.step(), conditioning))
        before = watch.hooks(modules)
        branch.attend(self.latents().requires_grad_(), self.step(), conditioning)
        branch.predict(self.latents().requires_grad_(), self.step(), conditioning, read=True)
        usual = {kind: count - before[kind] for kind, count in watch.hooks(modules).items()}  # test_hooks_are_gone_after_use sees to these
        for module in {id(running[i]): running[i] for i in (0, len(running) // 2, -1)}.values() if running else ():
            before = watch.hooks(modules)
            with watch.failing(module):
                with pytest.raises(watch.Interruption):
                    branch.attend(self.latents().requires_grad_(), self.step(), conditioning)
                with pytest.raises(watch.Interruption):
                    branch.predict(self.latents().requires_grad_(), self.step(), conditioning, read=True)
            left = {kind: count - before[kind] - usual[kind] for kind, count in watch.hooks(modules).items()}
            assert max(left.values()) <= 0, f"an error in {type(module).__name__} leaves hooks: {left}"

    def test_network_is_left_as_it_was(self) -> None:
        """Parameters' values and gradient flags, training flags and modules are as before, also where the user was training."""
        branch = self.build()
        modules = watch.networks(branch)
        with watch.training(modules):
            before = watch.condition_of(modules)
            self.use(branch, self.encoded(branch))
            after = watch.condition_of(watch.networks(branch))
        assert {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)} == set()

    # -- checks: batches and pictures ------------------------------------------------------------------------------------

    def test_batch_is_its_pictures_alone(self) -> None:
        """Noise and maps of a ragged batch are those of each picture drawn alone."""
        pictures, z = self.pictures(), self.latents()
        noise, maps = self.predicted(z=z).noise, self.attended(z=z)
        for b, picture in enumerate(pictures):
            alone, count = z[b : b + 1], len(picture.regions)
            assert relative(noise[b : b + 1], self.predicted(picture, z=alone).noise) < self.tolerance
            assert relative(maps[b : b + 1, :count], self.attended(picture, z=alone)[:, :count]) < self.tolerance

    def test_picked_pictures_are_those_encoded(self) -> None:
        """What `pick` makes of a batch's conditioning is that of its pictures encoded so: one alone; others in any order, and repeated."""
        pictures, conditioning, z = self.pictures(), self.encoded(), self.latents(3)
        together, alone = self.predicted(z=z[:2]).noise, self.predicted(pictures[1], z=z[1:2]).noise
        if together.shape != z[:2].shape or relative(together[1:], alone) >= self.tolerance:
            pytest.skip("pictures are not alone: test_batch_is_its_pictures_alone says so")
        for chosen in ((1,), (1, 0, 1)):
            at = z[: len(chosen)]
            with torch.no_grad():
                told = self.branch().pick(conditioning, chosen)
                found = self.branch().predict(at.clone(), self.step(), told)
                maps = self.branch().attend(at.clone(), self.step(), told)
            own = [pictures[b] for b in chosen]
            wanted, seen = self.predicted(*own, z=at), self.attended(*own, z=at)
            assert found.noise.shape == at.shape, f"{len(chosen)} pictures were picked, {len(found.noise)} predicted"
            assert relative(found.noise, wanted.noise) < self.tolerance
            assert relative(maps[:, : seen.shape[1]], seen) < self.tolerance

    def test_nan_stays_in_its_picture(self) -> None:
        """NaN in the latents of one picture raises nothing, and does not reach noise and maps of the other."""
        z = self.latents()
        other, spoilt = z.clone(), z.clone()
        other[1], spoilt[1, 0, 0, 0] = other[1].flip(-1), torch.nan
        noise, maps = self.predicted(z=z).noise[:1], self.attended(z=z)[:1]
        if (
            relative(noise, self.predicted(z=other).noise[:1]) >= self.tolerance
            or relative(maps, self.attended(z=other)[:1]) >= self.tolerance
        ):
            pytest.skip("pictures are not alone: test_batch_is_its_pictures_alone says so")
        assert relative(noise, self.predicted(z=spoilt).noise[:1]) < self.tolerance
        assert relative(maps, self.attended(z=spoilt)[:1]) < self.tolerance

    def test_pictures_are_decoded(self) -> None:
        """A fidelity branch decodes B latents to B pictures of the size asked for."""
        if self.spec().role == "spatial":
            pytest.skip("a spatial branch does not decode")
        with torch.no_grad():
            images = self.branch().decode(self.latents())
        height, width = self.picture_size()
        assert [image.size for image in images] == [(width, height)] * 2

    def test_moving_returns_the_branch(self) -> None:
        branch = self.branch()
        assert branch.to(branch.device, branch.dtype) is branch

    def test_fingerprint_is_stable(self) -> None:
        """`reproduce` compares it: part → digest, the same for the same weights."""
        first, second = self.branch().fingerprint(), self.build().fingerprint()
        assert first == second
        assert all(isinstance(part, str) and isinstance(digest, str) and digest for part, digest in first.items())


def _rows(maps: Tensor, regions: int) -> Tensor:
    """Maps with a row for each region, or a skip: one fault is named once."""
    if maps.ndim != 4 or maps.shape[1] != regions:
        pytest.skip("maps of another shape: test_maps_have_a_row_for_each_region says so")
    return maps
