"""What the commands write as LaTeX compiles in a paper that loads what docs/reporting.md says, whatever the names."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from made_records import Make

from mfim_bench.cli import run_command
from mfim_bench.report import published
from mfim_bench.report.formats import Sheet, render

PAGE = (Path(__file__).parents[2] / "docs" / "reporting.md").read_text(encoding="utf-8")
PACKAGES = re.findall(r"^\\usepackage.*$", PAGE, re.MULTILINE)
HOSTILE = (
    "under_score", "100%", "a&b", "#1", "~tilde", "x^2", "back\\slash{}", "$money$", "[bracket]", "*star", "a--b---c",
    "éß→✗±†‡°…", "中文 Ж \N{SLIGHTLY SMILING FACE}", "new\nline\x07", "<b>|`\"", "\\end{tabular}", "-1.5",
)  # fmt: skip


def names(*shown: str) -> str:
    cells = [[name, "-0.12 [-0.1, +0.2]", "–"] for name in shown]
    return render([Sheet("of\n\\two", ["a", "identity ↓✗\ndlib_l2", "b\n\n%"], cells, ["of\n\\two"])], "latex")


def test_what_latex_would_read_is_written_for_it() -> None:
    lines = names("a_b 50% \\x--y", "[中]").splitlines()
    assert lines == [
        r"% of \two",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"a & identity $\downarrow$$\times$ & b \\",
        r" & dlib\_l2 &  \\",
        r" &  & \% \\",
        r"\midrule",
        r"a\_b 50\% \textbackslash{}x-{}-y & $-$0.12 [$-$0.1, +0.2] & \textendash{} \\",
        r"{}[[U+4E2D]] & $-$0.12 [$-$0.1, +0.2] & \textendash{} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"% of \two",
    ]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex on PATH")
def test_every_command_compiles(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = []
    for seed, name in enumerate(("mfim", "_%&#~$^{}[1]", "✗→é中ß", "--x")):
        runs.append(str(make(f"made/{name}/1", 0.2 + seed / 10, 2.0, seed=seed, failed=seed).folder))
    commands = [
        ["compare", *runs, "--bootstrap", "20", "--worst", "2"],
        ["leaderboard", "--protocol", "made", "--out", str(tmp_path / "runs"), "--published", "casia-normal"],
        *(["table", *runs, "--form", f"mfim-{number}"] for number in range(1, 5)),
        ["published"],
        ["published", *published.tables()],
    ]
    texts = [names(*HOSTILE)]
    for command in commands:
        assert run_command([*command, "-f", "latex"]) == 0
        texts.append(capsys.readouterr().out)
    wide = tmp_path / "wide.tex"
    wide.write_text(texts[3], encoding="utf-8")
    texts[3] = r"\resizebox{\textwidth}{!}{\input{wide.tex}}"
    document = [r"\documentclass{article}", *PACKAGES, r"\begin{document}", *texts, r"\end{document}"]
    (tmp_path / "paper.tex").write_text("\n\n".join(document), encoding="utf-8")
    made = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    assert "Missing character" not in (tmp_path / "paper.log").read_text(encoding="utf-8", errors="replace")
