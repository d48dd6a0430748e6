"""``%larder`` in a kernel: what IPython makes of its words, and how a failure is shown."""

from pathlib import Path

import nbformat
import papermill
import pytest

CELLS = (
    "%load_ext batch.workbench",
    "users, folder = 10, {'items': 5}",
    "planned = %larder size --users $users --items {folder['items']} --json",
    "print(planned['one_generation_in_the_cache']['formula'])",
    "%larder check nothing.csv",
    "print('not reached')",
)


def test_a_failure_is_one_sentence_and_the_rest_is_not_executed(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in CELLS])
    nbformat.write(notebook, tmp_path / "some.ipynb")
    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(
            tmp_path / "some.ipynb",
            tmp_path / "executed.ipynb",
            cwd=tmp_path,
            progress_bar=False,
            kernel_name="python3",
        )
    cells = nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells
    executed = [cell for cell in cells if cell.cell_type == "code"]
    (printed,) = executed[3].outputs
    assert printed.text.startswith("10 users x") and "+ 5 items x" in printed.text
    said, failed = executed[-2].outputs
    assert said.text.startswith("error: nothing.csv")
    sentence = "the command larder check ended with exit code 2; its message is above"
    assert failed.traceback == [f"StepFailed: {sentence}"]
    assert executed[-1].outputs == []
