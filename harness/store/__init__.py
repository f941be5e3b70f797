"""Read and write the results folder. One driver writes it, trials resume from it, anyone reads it.

    <workspace>/workspace.json             the version of the format
    <workspace>/trials/<id>/spec.json      what determines the trial's result
    <workspace>/trials/<id>/records.jsonl  one line per epoch
    <workspace>/trials/<id>/checkpoint.pt  the state to resume from, and the records it covers
    <workspace>/trials/<id>/result.json    how the trial ended, and the records that this covers
    <workspace>/trials/<id>/history.jsonl  earlier failures that are not its outcome (optional)
    <workspace>/declared/<experiment>.json the tolerances in force when the records were made
    <workspace>/requests/<experiment>.json the seeds and epochs that the last run requested

Records count only if a checkpoint or a result covers them. A checkpoint and a result both hold the
length and the digest of the part of records.jsonl that they cover. Both are written in full under
another name and then renamed. So a write that stops at any byte leaves either the old or the new
state, and both are valid.
"""

from harness.store.archive import Archive, Kept, merge
from harness.store.workspace import Store

__all__ = ["Archive", "Kept", "Store", "merge"]
