"""The contracts (Branch, ConditionTransfer, Balancer, Planner, Suite, Scorer) and what passes between them. No torch at run time."""

from .balancer import Balancer, Move, Moved, Needs, Probe, ProbeResult, Setting
from .branch import Branch, Conditioning, GuidanceHalf, Prediction, Request, gives_halves
from .planner import Plan, Planner, PlanRequest
from .regions import Region, Regions
from .runtime import Runtime
from .step import Step
from .suite import Case, Record, Scorer, Shot, Suite
from .transfer import ConditionTransfer

__all__ = [
    "Balancer",
    "Branch",
    "Case",
    "ConditionTransfer",
    "Conditioning",
    "GuidanceHalf",
    "Move",
    "Moved",
    "Needs",
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
    "Setting",
    "Shot",
    "Step",
    "Suite",
    "gives_halves",
]
