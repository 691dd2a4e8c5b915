"""Light descriptions only: importing this module imports nothing heavy."""

from mfim_bench.hookspecs import hookimpl
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.method import MethodSpec
from mfim_bench.protocol import ProtocolSpec
from mfim_bench.weights import WeightsSpec

WEIGHTS_SHA256 = "7357acf1e469ac3afab7b08d2dc79f0d04604eba744077ddb9d242fd2a99571d"


@hookimpl
def mfim_bench_methods():
    return [
        MethodSpec(
            name="stranger-oval",
            factory="stranger_swaps.method:Oval",
            version="1",
            summary="The source's oval in the target, colours matched.",
            size=64,
            template="ffhq",
            licence="MIT",
            weights=("stranger-oval",),
        )
    ]


@hookimpl
def mfim_bench_protocols():
    return [
        ProtocolSpec(
            name="stranger-pairs",
            factory="stranger_swaps.protocol:Neighbours",
            version="1",
            summary="Each image of a folder on the next one.",
            measures=("stranger-tint", "identity"),
            references=("target-copy",),
            licence="MIT",
        )
    ]


@hookimpl
def mfim_bench_measures():
    return [
        MeasureSpec(
            name="stranger-tint@rgb-l2",
            distance="stranger_swaps.judge:tint_distance",
            compares="target",
            unit="L2 of mean RGB in [0, 1]",
            version="1",
            judge=JudgeSpec(name="stranger-tint", factory="stranger_swaps.judge:Tint", version="1"),
            summary="Does the face keep the target's mean colour?",
        )
    ]


@hookimpl
def mfim_bench_weights():
    return [
        WeightsSpec(
            name="stranger-oval",
            sha256=WEIGHTS_SHA256,
            package="stranger_swaps:oval.safetensors",
            licence="MIT",
            summary="Radii of the oval.",
        )
    ]


@hookimpl
def mfim_bench_commands(app):
    @app.command("stranger-greets")
    def greet(name: str) -> None:
        """Say hello."""
        print(f"hello {name}")
