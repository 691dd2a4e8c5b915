"""MFIM (ECCV 2022), written from the paper."""
