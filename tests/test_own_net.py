"""The how-to for a net of one's own runs, block after block."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "explain-your-own-net.md"


def test_the_how_to_for_your_own_net_runs(tmp_path: Path) -> None:
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    script = tmp_path / "own_net.py"
    script.write_text("\n".join(found), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert "('grad_cam', 'hires_cam', 'xgrad_cam')" in done.stdout
    assert len(list((tmp_path / "own-explanations").glob("*.npz"))) >= 5


def test_the_adapter_has_ten_lines() -> None:
    """Counted as the how-to promises: without signatures, blank lines and the class's first."""
    text = PAGE.read_text(encoding="utf-8")
    adapter = text[text.index("class Seam") :].split("```")[0]
    lines = [line for line in adapter.splitlines() if line.strip()]
    assert len(lines) <= 12
