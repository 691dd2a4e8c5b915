"""How fast the networks are, beside rosinality's and beside what the machine can do: ``mfim-bench bench model``."""
