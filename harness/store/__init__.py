"""The results folder: the driver appends to it, trials resume from it, anyone reads it.

    <workspace>/workspace.json             the format's version
    <workspace>/trials/<id>/spec.json      what determines the trial's result
    <workspace>/trials/<id>/records.jsonl  one line an epoch
    <workspace>/trials/<id>/checkpoint.pt  the state to resume from, and which records it covers
    <workspace>/trials/<id>/result.json    how the trial ended, and which records that covers
    <workspace>/trials/<id>/history.jsonl  earlier failures that are not its outcome, if any
    <workspace>/declared/<experiment>.json the tolerances that stood when its records were made
    <workspace>/requests/<experiment>.json the seeds and epochs that the last run asked for

Records count only where a checkpoint or a result covers them: each holds the length and the digest
of the part of records.jsonl that goes with it. Both are written whole, under another name, and then
renamed; so whatever was cut off at any byte, one or the other of two good states is read.
"""

from harness.store.archive import Archive, Kept, Merged, merge
from harness.store.workspace import Store

__all__ = ["Archive", "Kept", "Merged", "Store", "merge"]
