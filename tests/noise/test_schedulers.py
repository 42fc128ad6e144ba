"""Scheduler objects: their own settings stand in the recipe and draw the same picture; what was not trained for is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

import realcompo as rc
from realcompo.errors import BadOption, Incompatible, RealCompoError, UnknownName
from realcompo.noise.diffusion import FEW, FLOW, SCHEDULERS
from realcompo.noise.schedulers import PROCESS, check_solver, made_of, read_scheduler, settings_of
from realcompo.recipes.configuration import parse_text
from realcompo.recipes.writing import to_json, to_toml, to_yaml
from realcompo.specs import LatentSpace, NoiseSchedule, Traits
from tests.toyworld import PROMPT, TWO, toys

pytestmark = pytest.mark.filterwarnings("ignore::realcompo.errors.Remark")
TRAINED = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

OWN: list[tuple[str, dict[str, Any]]] = [
    ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    ("DDIMScheduler", {"clip_sample": True, "clip_sample_range": 0.5}),
    ("DDIMScheduler", {"thresholding": True, "sample_max_value": 0.7, "dynamic_thresholding_ratio": 0.9}),
    ("DDIMScheduler", {"set_alpha_to_one": True, "steps_offset": 0}),
    ("PNDMScheduler", {"timestep_spacing": "linspace", "skip_prk_steps": True}),
    ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    ("EulerDiscreteScheduler", {"use_exponential_sigmas": True}),
    ("EulerDiscreteScheduler", {"use_beta_sigmas": True}),
    ("EulerDiscreteScheduler", {"final_sigmas_type": "sigma_min", "timestep_spacing": "trailing"}),
    ("EulerDiscreteScheduler", {"interpolation_type": "log_linear"}),
    ("EulerDiscreteScheduler", {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10.0}),
    ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True, "timestep_spacing": "trailing", "solver_order": 1}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    ("DPMSolverMultistepScheduler", {"solver_order": 3, "solver_type": "heun", "lower_order_final": False, "euler_at_final": True}),
    ("DPMSolverMultistepScheduler", {"use_lu_lambdas": True}),
    ("DPMSolverMultistepScheduler", {"lambda_min_clipped": -5.1}),
    ("UniPCMultistepScheduler", {"solver_order": 3, "disable_corrector": [0, 1]}),
    ("UniPCMultistepScheduler", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
    ("UniPCMultistepScheduler", {"predict_x0": False, "use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}),
]


def object_of(cls: str, **settings: Any) -> Any:
    return getattr(diffusers, cls)(**{**TRAINED, **settings})


def picture(composer: rc.Composer) -> torch.Tensor:
    return composer(PROMPT, TWO, seed=3, output_type="latent").latents


@pytest.mark.parametrize(("cls", "settings"), OWN, ids=lambda value: str(value))
def test_a_schedulers_own_settings_stand_in_the_recipe_and_draw_the_same(cls: str, settings: dict[str, Any]) -> None:
    """Through every format of recipes; and they matter: without them it is another picture."""
    composer = toys(scheduler=object_of(cls, **settings), num_inference_steps=6)
    drawn, recipe = picture(composer), composer.recipe()
    stated = {**made_of(composer.scheduler, NoiseSchedule(), "epsilon"), **recipe.scheduler_options}
    assert {key: stated[key] for key in settings} == settings
    for write, suffix in ((to_toml, ".toml"), (to_yaml, ".yaml"), (to_json, ".json")):
        read = parse_text(write(recipe), suffix)
        assert read.scheduler_options == recipe.scheduler_options
        torch.manual_seed(len(suffix))  # a scheduler that drew from torch's own generator would draw otherwise
        assert drawn.isfinite().all()
        assert torch.equal(picture(rc.Composer.from_recipe(read, composer.registry)), drawn), suffix


def test_settings_matter() -> None:
    """A recipe without them would be another picture: what the test above guards can be seen."""
    plain = picture(toys(scheduler="dpm++-2m", num_inference_steps=6))
    for settings in ({"solver_order": 1}, {"algorithm_type": "sde-dpmsolver++"}, {"timestep_spacing": "trailing"}):
        assert not torch.equal(picture(toys(scheduler="dpm++-2m", scheduler_options=settings, num_inference_steps=6)), plain), settings


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_made_of_the_checkpoints_own_says_nothing_more(name: str) -> None:
    """`Class.from_config(pipeline.scheduler.config)`, as everybody writes it, with the settings of the name."""
    schedule = NoiseSchedule()
    settings = made_of(name, schedule, "epsilon")
    for ours in {FLOW: ("timestep_spacing",), "tcd": ("eta",)}.get(name, ()):
        del settings[ours]
    made = getattr(diffusers, SCHEDULERS[name][0])(**settings)
    assert read_scheduler(made, None, schedule, "epsilon") == (name, {})
    if name not in FEW:  # the toys are not distilled
        assert toys(scheduler=made).recipe().scheduler_options == {}


@pytest.mark.parametrize(
    ("cls", "settings", "word"),
    [
        ("DDIMScheduler", {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}, "beta"),
        ("EulerDiscreteScheduler", {"beta_end": 0.0121}, "beta_end"),
        ("UniPCMultistepScheduler", {"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule"),
        ("DPMSolverMultistepScheduler", {"trained_betas": [0.01] * 1000}, "trained_betas"),
        ("PNDMScheduler", {"trained_betas": np.linspace(0.0001, 0.02, 1000)}, "trained_betas"),
        ("EulerAncestralDiscreteScheduler", {"num_train_timesteps": 500}, "num_train_timesteps"),
        ("DDIMScheduler", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ("EulerDiscreteScheduler", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ("DDIMScheduler", {"prediction_type": "v_prediction"}, "prediction_type"),
        ("DDIMScheduler", {"prediction_type": "sample"}, "prediction_type"),
        ("DPMSolverMultistepScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True}, "prediction_type"),
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True}, "use_flow_sigmas"),
        ("DPMSolverMultistepScheduler", {"variance_type": "learned_range"}, "variance_type"),
        ("EulerDiscreteScheduler", {"timestep_type": "continuous"}, "timestep_type"),
        ("UniPCMultistepScheduler", {"solver_p": diffusers.DDIMScheduler()}, "solver_p"),
    ],
    ids=str,
)
def test_a_scheduler_of_other_training_is_refused(cls: str, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(RealCompoError, match=word) as caught:
        toys(scheduler=object_of(cls, **settings))
    assert len(str(caught.value)) < 500 and caught.value.mend


def test_betas_that_are_spelled_out_are_the_same_noise() -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    composer = toys(
        scheduler=object_of("DDIMScheduler", trained_betas=betas.tolist(), clip_sample=False, steps_offset=1, set_alpha_to_one=False)
    )
    assert len(composer.scheduler_options["trained_betas"]) == 1000
    assert torch.allclose(picture(composer), picture(toys()), atol=1e-4)


def test_a_checkpoint_of_betas_of_its_own_is_honoured() -> None:
    """They stood in its config and were dropped."""
    betas = tuple(np.linspace(0.0002, 0.015, 1000).tolist())
    schedule = replace(NoiseSchedule(), trained_betas=betas)
    assert schedule.process != NoiseSchedule().process
    solver = check_solver("ddim", {}, [Traits(LatentSpace("sd"), "SD 1.x", schedule)], 10)
    bars = np.cumprod(1 - np.array(betas))
    assert solver.steps[0].alpha_bar == pytest.approx(bars[int(solver.steps[0].t)], rel=1e-4)
    with pytest.raises(Incompatible, match="beta"):
        read_scheduler(object_of("DDIMScheduler"), None, schedule, "epsilon")


def test_a_schedule_that_a_scheduler_cannot_follow() -> None:
    zero = replace(NoiseSchedule(), rescale_betas_zero_snr=True)
    for name in ("pndm",):
        with pytest.raises(Incompatible, match="zero terminal SNR"):
            read_scheduler(name, None, zero, "v_prediction")
    assert read_scheduler("ddim", None, zero, "v_prediction") == ("ddim", {})


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("ddim", {"use_karras_sigmas": True}, UnknownName, "ddim has no setting 'use_karras_sigmas'"),
        ("euler", {"use_karas_sigmas": True}, UnknownName, "did you mean 'use_karras_sigmas'"),
        ("euler", {"timestep_spacing": "even"}, BadOption, "even"),
        ("dpm++-2m", {"algorithm_type": "dpmsolver4"}, BadOption, "dpmsolver4"),
        ("dpm++-2m", {"algorithm_type": "dpmsolver"}, BadOption, "final_sigmas_type"),
        ("euler", {"use_karras_sigmas": True, "use_beta_sigmas": True}, BadOption, "sigmas"),
        ("ddim", {"beta_end": 0.02}, Incompatible, "beta_end"),
        ("ddim", {"num_train_timesteps": 10**12}, Incompatible, "num_train_timesteps"),
        ("unipc", {"solver_p": {"a": 1}}, BadOption, "solver_p"),
        ("unipc", {"solver_order": 10**10}, BadOption, "solver_order"),
        ("unipc", {"solver_type": "bh1"}, BadOption, "overflow"),  # black pictures, in diffusers as well
        ("euler", {"sigma_min": "low"}, BadOption, ""),
    ],
    ids=str,
)
def test_settings_that_a_name_cannot_take(name: str, options: dict[str, Any], error: type[Exception], words: str) -> None:
    if options.get("sigma_min"):
        options = {**options, "use_karras_sigmas": True}
    with pytest.raises(error) as caught:
        toys(scheduler=name, scheduler_options=options, num_inference_steps=5)
    assert words in str(caught.value)


def test_what_is_no_scheduler() -> None:
    for wrong in (diffusers.DDIMScheduler, None, 7, object(), diffusers.LMSDiscreteScheduler(**TRAINED), "heun"):
        with pytest.raises(UnknownName):
            toys(scheduler=wrong)
    with pytest.raises(BadOption, match="beside a scheduler object"):
        toys(scheduler=object_of("DDIMScheduler"), scheduler_options={"steps_offset": 0})


def test_no_setting_of_the_classes_is_unknown_to_these_tests() -> None:
    """A new diffusers may bring settings that change a picture: then this test asks to look at them."""
    known = {*PROCESS, "prediction_type", *(key for _, settings in OWN for key in settings)}
    known |= {
        "flow_shift",
        "use_flow_sigmas",
        "use_dynamic_shifting",
        "time_shift_type",
        "variance_type",
        "timestep_type",
        "solver_p",
        "shift_terminal",
        *("shift", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"),  # tests/noise/test_levels.py
        *("invert_sigmas", "stochastic_sampling"),
        *("original_inference_steps", "timestep_scaling", "eta"),  # realcompo-stable-diffusion's test_sd_few_steps.py
    }
    assert {key for name in SCHEDULERS for key in settings_of(name)} <= known


def test_the_png_of_a_scheduler_object_is_reproduced(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    source = str(checkpoint("sd1"))
    made = diffusers.DPMSolverMultistepScheduler.from_pretrained(
        source, subfolder="scheduler", use_karras_sigmas=True, timestep_spacing="trailing", algorithm_type="sde-dpmsolver++", solver_order=1
    )
    composer = rc.Composer({"name": "sd/v1-5", "source": source}, scheduler=made, num_inference_steps=3, device="cpu", height=64, width=64)
    composer("a photo of a cat", seed=0).image.save(tmp_path / "a.png")
    again = rc.reproduce(tmp_path / "a.png")
    assert again.same and not again.notes
