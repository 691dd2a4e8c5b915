"""What this distribution brings; light, so that listing methods imports nothing heavy."""

from __future__ import annotations

from mfim_bench.hookspecs import hookimpl
from mfim_bench.method import MethodSpec

POISSON = MethodSpec(
    name="poisson",
    factory="mfim_bench_classical.poisson:Poisson",
    version="1",
    summary="the source's face warped onto the target's five points, colours matched, blended seamlessly",
    size=256,
    template="ffhq",
    licence="Apache-2.0",
    citation="P. Perez, M. Gangnet, A. Blake. Poisson image editing. ACM Transactions on Graphics 22(3), 2003.",
)


@hookimpl
def mfim_bench_methods() -> tuple[MethodSpec, ...]:
    return (POISSON,)
