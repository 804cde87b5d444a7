"""How the contract of a step becomes a run over all steps."""
