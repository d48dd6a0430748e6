"""What everything that a team may apply must keep to: a module for each subject."""

from importlib import import_module
from pkgutil import iter_modules

from tests.k8s.defects import DEFECTS

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

RULES = tuple(dict.fromkeys(defect.rule for defect in DEFECTS))
"""Those of all modules: none is without a defect that it catches."""
