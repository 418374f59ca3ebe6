"""scope-train gpu-check: what a GPU must do, done once on a small scale, and a report of it.

judged.py      the one rule by which numbers of a device are compared with float64 on the CPU
kernels.py     attention of packed samples, Adam
vocabulary.py  loss and health from a vocabulary that is read in chunks, and its memory
numbers.py     all of these, and a teacher's scores, each in a process of its own
runs.py        the embedded default with every engine on one card: killed, resumed, slept, synced
steps.py       the whole check, step by step
report.py      its rows, the checklist of docs/gpu.md, and the file that goes into a bug report
"""
