"""The contracts (Branch, ConditionTransfer, Balancer, Planner, Upscaler, Suite, Scorer) and what passes between them. No torch here."""

from .balancer import Balancer, Move, Moved, Needs, Probe, ProbeResult, Seen, Setting
from .branch import Branch, Conditioning, GuidanceHalf, Inpainting, Prediction, Request, gives_halves
from .engine import Crew, Engine, Outcome, Unit, Work
from .picking import picked
from .planner import Plan, Planner, PlanRequest
from .regions import Region, Regions
from .runtime import Runtime
from .step import Step
from .suite import Case, Record, Scorer, Shot, Suite
from .transfer import ConditionTransfer
from .upscaler import Upscaler

__all__ = [
    "Balancer",
    "Branch",
    "Case",
    "ConditionTransfer",
    "Conditioning",
    "Crew",
    "Engine",
    "GuidanceHalf",
    "Inpainting",
    "Move",
    "Moved",
    "Needs",
    "Outcome",
    "Plan",
    "PlanRequest",
    "Planner",
    "Prediction",
    "Probe",
    "ProbeResult",
    "Record",
    "Region",
    "Regions",
    "Request",
    "Runtime",
    "Scorer",
    "Seen",
    "Setting",
    "Shot",
    "Step",
    "Suite",
    "Unit",
    "Upscaler",
    "Work",
    "gives_halves",
    "picked",
]
