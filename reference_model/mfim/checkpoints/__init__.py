"""Public checkpoints: StyleGAN2 (rosinality, NVlabs), IR-SE50 and pSp's encoder, read strictly, running no code.

`mfim.checkpoints.files` opens a file and says what is in it, `mfim.checkpoints.conversion` moves weights into our
networks and out of them. The layouts are tables of entries (`mfim.checkpoints.layout`), which are also what the
diagnostic checks.
"""
