"""`realcompo bench`: what a recipe costs, takes and holds, alone or against another, and whether the limits that are promised are met."""
