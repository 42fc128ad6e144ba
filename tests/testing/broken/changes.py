# ruff: noqa: E501
# fmt: off
"""One line changed, one named check failed: the broken plugins.

Each row is (what is wrong, component, file of `passing`, line, what it becomes, the only check that may fail).
"""

from typing import NamedTuple


class Change(NamedTuple):
    name: str
    component: str
    file: str
    old: str
    new: str
    check: str


F, S, T, B, P = "passing/fidelity", "passing/spatial", "passing/boxes", "passing/step", "passing/row"
U, C, L, _SUITE = "passing/rows", "passing/coloured", "passing/plain", "suite.py"
_SAY, _OPT, _NET, _TRANSFER, _BALANCER, _PLANNER = "__init__.py", "options.py", "branch.py", "transfer.py", "balancer.py", "planner.py"
_UPSCALER, _LARGER = "upscaler.py", "return [one.resize((width, height)) for one in pictures]"

CHANGES = [
    # -- declaration
    Change("declaring imports torch", S, _SAY, "from collections.abc import Iterable", "import torch; from collections.abc import Iterable", "test_declaring_imports_no_torch"),
    Change("an option's module imports torch", B, _OPT, "from pydantic import Field", "import torch; from pydantic import Field", "test_declaring_imports_no_torch"),
    Change("an option without a description", S, _OPT, 'Field(0, description="of the random weights")', "Field(0)", "test_options_are_described"),
    Change("a balancer's option without a description", B, _OPT, 'Field(5.0, description="of a gradient step")', "5.0", "test_options_are_described"),
    Change("an option that does not survive a recipe", S, _OPT, "words: tuple[str, ...] =", "words: frozenset[bytes] | tuple[str, ...] =", "test_options_survive_a_recipe"),
    # -- branches: before weights
    Change("inspect builds the network", S, _NET, "return spec.traits", "return Network() and spec.traits", "test_traits_are_known_without_weights"),
    Change("inspect says another thing than the branch", S, _NET, "self.inspect(spec, options, source)", "__import__('dataclasses').replace(spec.traits, max_objects=9)", "test_traits_are_known_without_weights"),
    # -- branches: noise
    Change("noise of another shape", F, _NET, "return Prediction(noise, maps)", "return Prediction(noise[..., :-1], maps)", "test_noise_keeps_shape_and_dtype"),
    Change("noise of another dtype", S, _NET, "return Prediction(noise, maps)", "return Prediction(noise.double(), maps)", "test_noise_keeps_shape_and_dtype"),
    Change("a pixel that is not finite", S, _NET, "return Prediction(noise, maps)", "return Prediction(noise.index_fill(3, torch.tensor([0]), torch.nan), maps)", "test_noise_is_finite"),
    Change("noise that is drawn anew", S, _NET, "return Prediction(noise, maps)", "return Prediction(noise + 1e-6 * torch.randn_like(noise), maps)", "test_noise_is_deterministic"),
    Change("a prompt that is ignored", F, _NET, "noise = self.run(z, step, conditioning.text, conditioning.layout)", "noise = self.run(z, step, conditioning.empty, conditioning.layout)", "test_prompt_moves_the_noise"),
    Change("a condition that is ignored", S, _NET, "for item in condition.items if condition is not None else ():", "for item in ():", "test_condition_moves_the_noise"),
    Change("a shift that the traits do not tell", S, _NET, "return Prediction(noise, maps)", "return Prediction(noise, maps, torch.zeros_like(z))", "test_shift_is_declared"),
    Change("a graph left by predict", S, _NET, "with torch.no_grad():", "if True:", "test_no_graph_is_left"),
    Change("a graph left by encode", S, _NET, "return Conditioning(self.numbers(request.prompts), empty, layout, tokens, request.guidance_scale)", "return Conditioning(self.numbers(request.prompts), empty, torch.enable_grad()(lambda: layout * torch.ones(1, requires_grad=True))(), tokens, request.guidance_scale)", "test_no_graph_is_left"),
    Change("z changed in place", S, _NET, "return Prediction(noise, maps)", "return Prediction(noise, z.detach().mul_(0.5) is None or maps)", "test_inputs_are_not_mutated"),
    Change("the conditioning changed in place", S, _NET, "return Prediction(noise, maps)", "return Prediction(noise, maps) if conditioning.layout.add_(1e-9).mul_(1 + 1e-6) is not None else None", "test_inputs_are_not_mutated"),
    Change("a timestep that another process counts", S, _NET, "self.check_step(step)", "self.check_step(__import__('dataclasses').replace(step, schedule=self.traits.schedule))", "test_timesteps_of_another_process_are_refused"),
    Change("a level that it was not trained at", F, _NET, "self.check_step(step)", "self.check_step(__import__('dataclasses').replace(step, alpha_bar=0.5))", "test_levels_outside_its_range_are_refused"),
    # -- branches: maps
    Change("a map of the words, not of the regions", S, _NET, "return maps", "return maps[:, :1]", "test_maps_have_a_row_for_each_region"),
    Change("maps below zero", S, _NET, "return maps", "return maps - 0.2 * (maps > 0)", "test_maps_are_nonnegative"),
    Change("a map of an absent region", S, _NET, "return maps", "return maps + 1e-6", "test_maps_of_absent_regions_are_zero"),
    Change("an empty map of a region that is there", S, _NET, "return maps", "return maps * (conditioning.tokens.sum(dim=2) < 2)[:, :, None, None]", "test_maps_of_absent_regions_are_zero"),
    Change("maps in an order of their own", S, _NET, "tokens[b, r, self.places(prompt, region.phrase)] = 1", "tokens[b, sorted(one.id for one in request.regions.pictures[b]).index(region.id), self.places(prompt, region.phrase)] = 1", "test_maps_follow_the_order_of_regions"),
    Change("maps that predict reads elsewhere", S, _NET, "maps = self.attend(z, step, conditioning) if read else None", "maps = self.attend(z + 0.1, step, conditioning) if read else None", "test_predict_reads_what_attend_sees"),
    Change("maps that nobody asked for", S, _NET, "maps = self.attend(z, step, conditioning) if read else None", "maps = self.attend(z, step, conditioning)", "test_predict_reads_what_attend_sees"),
    Change("halves that are each other", S, _NET, 'float(half == "conditional")', 'float(half != "conditional")', "test_halves_make_the_guided_prediction"),
    # -- branches: gradient
    Change("maps cut off from z", S, _NET, "self.run(z, step, conditioning.text, conditioning.layout)\n        maps", "self.run(z.detach(), step, conditioning.text, conditioning.layout)\n        maps", "test_gradient_reaches_the_latents"),
    Change("a gradient that is not finite", S, _NET, "return maps", "return maps + 0 * (z.abs() * 0).sqrt().sum(dim=(1, 2, 3))[:, None, None, None]", "test_gradient_reaches_the_latents"),
    Change("a gradient of half of the attention", S, _NET, "seen.append(module.probabilities(*args))", "seen.append(module.probabilities((args[0] + args[0].detach()) / 2, args[1]))", "test_gradient_agrees_with_finite_differences"),
    # -- branches: what is borrowed
    Change("a hook that stays", S, _NET, "handle.remove()", "handle", "test_hooks_are_gone_after_use"),
    Change("a hook that stays after an error", S, _NET, "finally:", "finally: pass\n        if seen:", "test_hooks_are_gone_after_an_error"),
    Change("parameters that sleep on", S, _NET, "parameter.requires_grad_(True)", "parameter.requires_grad_(False)", "test_network_is_left_as_it_was"),
    Change("a network that is put into eval mode", S, _NET, "attention = self.network.attention", "attention = self.network.eval().attention", "test_network_is_left_as_it_was"),
    # -- branches: batches, pictures
    Change("a batch that is normalised together", S, _NET, "return z + self.leave(self.attention(features, self.words(text)))", "return z + self.leave(self.attention(features - features.mean(dim=0, keepdim=True) / 9, self.words(text)))", "test_batch_is_its_pictures_alone"),
    Change("a pick of all pictures", F, _NET, "    def decode(self, z):", "    def pick(self, conditioning, pictures):\n        return conditioning\n\n    def decode(self, z):", "test_picked_pictures_are_those_encoded"),
    Change("a pick that keeps the order", S, _NET, "    def decode(self, z):", "    def pick(self, conditioning, pictures):\n        return super().pick(conditioning, sorted(pictures))\n\n    def decode(self, z):", "test_picked_pictures_are_those_encoded"),
    Change("the first picture's boxes for all", S, _NET, "layout[b, 0, int(y0 * h)", "layout[:, 0, int(y0 * h)", "test_batch_is_its_pictures_alone"),
    Change("NaN that spreads", S, _NET, "return self.network(z, step.t", "return self.network(z + 0 * z.sum(), step.t", "test_nan_stays_in_its_picture"),
    Change("one picture of two", F, _NET, "for picture in pixels]", "for picture in pixels[:1]]", "test_pictures_are_decoded"),
    Change("pictures of another size", F, _NET, "repeat_interleave(8, dim=3)", "repeat_interleave(4, dim=3)", "test_pictures_are_decoded"),
    Change("a move that returns the network", S, _NET, "        return self\n", "        return self.network\n", "test_moving_returns_the_branch"),
    Change("a fingerprint of the moment", S, _NET, 'return {"network": str(', 'return {"network": str(id(self)) + str(', "test_fingerprint_is_stable"),
    # -- transfers
    Change("a transfer of another kind", T, _TRANSFER, 'kind = "boxes"', 'kind = "box"', "test_it_takes_its_kind"),
    Change("an id made anew", T, _TRANSFER, "id=item.id,", "id=f'region-{len(regions)}',", "test_regions_keep_ids_and_phrases"),
    Change("a phrase without its article", T, _TRANSFER, "phrase=item.phrase,", "phrase=item.phrase.removeprefix('a '),", "test_regions_keep_ids_and_phrases"),
    Change("regions in the order of their size", T, _TRANSFER, "return tuple(regions)", "return tuple(sorted(regions, key=lambda region: region.mask.sum()))", "test_order_of_regions_is_kept"),
    Change("a mask above one", T, _TRANSFER, "= 1.0", "= 1.5", "test_masks_lie_between_zero_and_one"),
    Change("a small box that covers nothing", T, _TRANSFER, "right, bottom = max(math.ceil(x1 * CELLS), left + 1), max(math.ceil(y1 * CELLS), top + 1)", "right, bottom = int(x1 * CELLS), int(y1 * CELLS)", "test_masks_are_never_empty"),
    Change("rows taken for columns", T, _TRANSFER, "x0, y0, x1, y1 = box", "y0, x0, y1, x1 = box", "test_masks_stay_inside_the_outline"),
    Change("a mask that depends on the call before", T, _TRANSFER, "= 1.0", "= 0.5 + 0.5 * (setattr(self, 'n', not getattr(self, 'n', False)) or self.n)", "test_transfer_is_deterministic"),
    # -- balancers
    Change("weights for each channel", B, _BALANCER, "return weights\n\n    def update", "return weights.expand(-1, -1, 4, -1, -1)\n\n    def update", "test_weights_are_one_value_a_pixel"),
    Change("weights of another dtype", B, _BALANCER, "return weights\n\n    def update", "return weights.double()\n\n    def update", "test_weights_are_one_value_a_pixel"),
    Change("weights below zero", B, _BALANCER, "return weights\n\n    def update", "return weights + 30 * (weights - (weights > 0) / (weights > 0).sum(dim=0))\n\n    def update", "test_weights_are_nonnegative"),
    Change("weights that do not sum to one", B, _BALANCER, "coe.softmax(dim=0)", "coe.softmax(dim=0) * 0.99", "test_weights_sum_to_one"),
    Change("weight for a branch that was not asked", B, _BALANCER, "= -torch.inf", "= -4.0", "test_branches_left_out_weigh_nothing"),
    Change("a step at which nobody acts", B, _BALANCER, "return Needs(acting, probe=", "return Needs(tuple(acts and step.index != 1 for acts in acting), probe=", "test_needs_names_every_branch"),
    Change("a probe while a branch is idle", B, _BALANCER, "probe=len(acting) > 1 and all(acting))", "probe=len(acting) > 1)", "test_needs_names_every_branch"),
    Change("two probes a step", B, _BALANCER, "result = probe(weights)", "result = (probe(weights), probe(weights))[1]", "test_update_costs_one_probe"),
    Change("a result that is not handed on", B, _BALANCER, "return replace(state, coe=coe), result", "return replace(state, coe=coe), None", "test_update_costs_one_probe"),
    Change("a normalisation that makes something of nothing", B, _BALANCER, "coe = state.coe - self.options.rate * gradient", "coe = state.coe - self.options.rate * gradient / gradient.square().mean(dim=(0, 2, 3, 4), keepdim=True).sqrt()", "test_zero_gradient_moves_nothing"),
    Change("a step uphill", B, _BALANCER, "state.coe - self.options.rate", "state.coe + self.options.rate", "test_update_lowers_the_loss"),
    Change("the printed gradient's missing cross term, upside down", B, _BALANCER, "coe = state.coe - self.options.rate * gradient", "coe = state.coe - self.options.rate * gradient.flip(0)", "test_update_lowers_the_loss"),
    Change("a state changed in place", B, _BALANCER, "coe = state.coe - self.options.rate * gradient", "coe = state.coe.sub_(self.options.rate * gradient)", "test_state_is_not_mutated"),
    Change("a run kept on the balancer", B, _BALANCER, "coe = state.coe - self.options.rate * gradient", "self.n = getattr(self, 'n', 0) + 1; coe = state.coe - self.options.rate * self.n * gradient", "test_runs_do_not_meet"),
    Change("a gradient shared by the batch", B, _BALANCER, "slope = result.grad_weights", "slope = result.grad_weights / (1 + result.loss.abs().sum())", "test_batch_is_its_pictures_alone"),
    # -- planners
    Change("a plan that is not valid", P, _PLANNER, "return Plan(Boxes([*kept, *items]),", "return Plan(Boxes.model_construct(items=tuple([*kept, *items][:1] * 2)),", "test_plans_are_valid"),
    Change("a plan of nothing", P, _PLANNER, 'raise PlanningError("no object in the prompt", mend="write \'a cat and a dog\'")', "pass", "test_failures_are_planning_errors"),
    Change("a phrase of the planner's own", P, _PLANNER, "items.append(BoxItem(phrase=phrase,", "items.append(BoxItem(phrase='the ' + phrase,", "test_phrases_are_in_the_prompt"),
    Change("a plan that ignores its seed", P, _PLANNER, "draw = random.Random(request.seed)", "draw = random.Random()", "test_same_seed_plans_the_same"),
    Change("more objects than the branch takes", P, _PLANNER, "and count > request.max_objects:", "and count > request.max_objects + 1:", "test_limit_of_objects_is_kept"),
    Change("a region to keep that moves", P, _PLANNER, "BoxItem(phrase=region.phrase, box=region.box, id=region.id)", "BoxItem(phrase=region.phrase, box=(0, 0, 1, 1), id=region.id)", "test_kept_regions_stay"),
    Change("an error of another kind", P, _PLANNER, 'raise PlanningError("no object in the prompt", mend="write \'a cat and a dog\'")', "raise ValueError('no object')", "test_failures_are_planning_errors"),
    Change("a batch in another order", P, _PLANNER, "for request in requests]", "for request in reversed(requests)]", "test_batches_are_the_single_plans"),
    Change("a wish that ends in another error", P, _PLANNER, """raise PlanningError(f"what is {request.wish!r}?", mend="write 'remove a cat'")""", "raise KeyError(request.wish)", "test_wishes_are_plans_or_planning_errors"),
    Change("a dry run of objects", P, _PLANNER, 'return {"prompt": request.prompt}', 'return {"prompt": {request.prompt}}', "test_a_dry_run_is_plain_data"),
    Change("a transcript of objects", P, _PLANNER, '"content": f"{count} objects"', '"content": {count}', "test_transcript_is_plain_data"),
    # -- suites
    Change("two cases of one file", U, _SUITE, 'file=f"rows/{name}"', 'file=f"rows/{number}"', "test_cases_can_be_drawn"),
    Change("a file that leaves the folder", U, _SUITE, 'file=f"rows/{name}"', 'file=f"../{name}"', "test_cases_can_be_drawn"),
    Change("files of another name every time", U, _SUITE, 'file=f"rows/{name}"', 'file=f"rows/{name}-{id(boxes)}"', "test_cases_are_the_same_at_every_run"),
    Change("a seed that no recipe takes", U, _SUITE, "10 * seed + noise", "10 * seed + noise + 2**64", "test_cases_survive_a_recipe"),
    Change("truth that JSON does not hold", U, _SUITE, 'truth = {"things": phrases}', 'truth = {"things": tuple(phrases)}', "test_truth_is_plain_data"),
    Change("a seed that is not heard", U, _SUITE, "10 * seed + noise", "noise", "test_another_seed_is_other_noise_only"),
    Change("one noise twice in a scene", U, _SUITE, "10 * seed + noise", "10 * seed", "test_another_seed_is_other_noise_only"),
    Change("a seed that changes the truth", U, _SUITE, 'truth = {"things": phrases}', 'truth = {"things": phrases, "seed": seed}', "test_another_seed_is_other_noise_only"),
    Change("a text in a picture's place", U, _SUITE, '"rows/prompts.json"', '"rows/0-0.png"', "test_its_files_stay_in_the_folder"),
    Change("a scorer that is not here", U, _SAY, 'scorers=("passing/coloured",)', 'scorers=("passing/colored",)', "test_its_scorers_are_here"),
    # -- scorers
    Change("a number that JSON has not", C, _SUITE, '"mean": float(pixels.mean())', '"mean": float(pixels.mean()), "most": float("inf")', "test_a_record_a_picture"),
    Change("a column that no record holds", C, _SAY, 'Column(name="light"', 'Column(name="left", title="left", top="left"), Column(name="light"', "test_columns_are_in_the_records"),
    Change("a score of the moment", C, _SUITE, '"mean": float(pixels.mean())', '"mean": float(pixels.mean()) + __import__("random").random() * 1e-6', "test_the_same_picture_scores_the_same"),
    Change("a batch that is judged together", C, _SUITE, "shot.case.truth[\"objects\"]) for shot in shots]", "shot.case.truth[\"objects\"] + [{\"phrase\": \"a red box\", \"box\": [0, 0, 1, 1]}] * (len(shots) > 1)) for shot in shots]", "test_a_batch_is_its_pictures_alone"),
    Change("a picture that is painted over", C, _SUITE, "np.asarray(shot.image, dtype=float), shot", "np.asarray(shot.image, dtype=float) if shot.image.putpixel((63, 63), (254, 254, 254)) is None else 0, shot", "test_pictures_are_left_as_they_were"),
    Change("a scorer that reads the labels alone", C, _SUITE, "np.asarray(shot.image, dtype=float), shot", "np.full((64, 64, 3), (255.0, 0.0, 0.0)), shot", "test_other_pictures_score_otherwise"),
    Change("a scorer that reads no labels", C, _SUITE, "return float((np.abs(inside - colour).max(axis=2) < 30).mean())", "return float((pixels.std(axis=2) > 30).mean() > 0)", "test_shuffled_labels_change_the_score"),
    Change("a label that it does not say to read", C, _SUITE, "shot.case.truth[\"objects\"]) for shot in shots]", "shot.case.truth[\"objects\"] * shot.case.prompt.count(\"box\")) for shot in shots]", "test_labels_that_it_does_not_read_change_nothing"),
    # -- upscalers
    Change("one more than there were", L, _UPSCALER, _LARGER, "return [one.resize((width, height)) for one in [*pictures, *pictures[2:]]]", "test_as_many_come_back"),
    Change("a size with its sides swapped", L, _UPSCALER, "height, width = size", "width, height = size", "test_what_it_returns_is_as_large_as_asked"),
    Change("a picture upside down", L, _UPSCALER, _LARGER, "return [one.resize((width, height)).rotate(180) for one in pictures]", "test_it_shows_the_same_things"),
    Change("pictures in another order", L, _UPSCALER, _LARGER, "return [Image.blend(*pair, 0.46).resize((width, height)) for pair in zip(pictures[::-1], pictures)]", "test_each_is_its_own"),
    Change("an upscaler that draws lots", L, _UPSCALER, _LARGER, "return [one.resize((width, height)).point(lambda v: v + __import__('random').randint(0, 9)) for one in pictures]", "test_it_is_deterministic"),
    Change("pictures changed in place", L, _UPSCALER, _LARGER, "return [one.resize((width, height)) for one in pictures if one.putpixel((0, 0), (1, 2, 3)) is None]", "test_what_it_is_given_stays_as_it_is"),
]
