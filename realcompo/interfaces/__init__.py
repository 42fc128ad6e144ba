"""The contracts: Branch, ConditionTransfer, Balancer, Planner, and the values that pass between them. No torch at run time."""

from .balancer import Balancer, Move, Moved, Needs, Probe, ProbeResult, Setting
from .branch import Branch, Conditioning, GuidanceHalf, Prediction, Request, gives_halves
from .planner import Plan, Planner, PlanRequest
from .regions import Region, Regions
from .runtime import Runtime
from .step import Step
from .transfer import ConditionTransfer

__all__ = [
    "Balancer",
    "Branch",
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
    "Region",
    "Regions",
    "Request",
    "Runtime",
    "Setting",
    "Step",
    "gives_halves",
]
