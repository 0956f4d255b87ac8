#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""The memory manager's workloads (tests/bench/mm), against the limits measured in the same run.

mm.py --run PROGRAM [--instr PROGRAM] [--runs 3] [--append] --out FILE.json [ID...]
Each run gives the median of 9; of the runs the best is taken. With --instr the instructions of each
workload are counted as well, by callgrind: exact, and the same on every machine.
"""
import argparse
import glob
import json
import re
import subprocess
import sys
import tempfile

# Ratio to the limit, or the largest value in nanoseconds; instructions an operation.
GOALS = {
    "W1.map.untracked": (2.6, None, 20), "W1.map.tracked": (6.5, None, 40),
    "W1.unmap.clear": (2.8, None, 15), "W1.unmap": (2.8, None, 15),
    "W1.unmap.detach": (None, 0.1, 15),
    "W2.map": (2.2, None, 150), "W2.unmap": (2.2, None, 150), "W3.query": (1.4, None, 40),
    "W4.protect": (2.0, None, 12), "W5.map": (2.5, None, None), "W5.split": (1.2, None, None),
    "W8.read8": (None, 2.0, None), "W8.random8": (1.5, None, None),
    "W8.chained8": (1.5, None, None),
    "W8.read64": (1.6, None, None), "W8.write64": (1.6, None, None),
    "W8.read64.2m": (1.6, None, None),
    "W8.read4k": (1.05, None, None), "W8.read4k.2m": (1.05, None, None),
    "W8.write4k": (1.05, None, None), "W8.write4k.2m": (1.05, None, None),
    "W8.read1m": (1.05, None, None), "W8.read1m.2m": (1.05, None, None),
    "W8.write1m": (1.05, None, None), "W8.write1m.2m": (1.05, None, None),
    "W8.read4k.off": (1.05, None, None), "W8.copy64": (1.6, None, None),
    "W8.copy4k": (1.05, None, None),
    "W8.owner": (None, 12, None), "W8.owner.others": (None, 12, None),
    "W8.virtual8": (None, 60, None), "W8.virtual8.once": (None, 60, None),
    "W7.2T": (2.1, None, None), "W9.pair0": (2.6, None, 45), "W9.pair9": (6.5, None, None),
}


def timed(program, runs, ids):
    """id -> (limit's id, operations, best median)"""
    best = {}
    for _ in range(runs):
        out = subprocess.run([program] + ids, check=True, stdout=subprocess.PIPE, text=True).stdout
        for line in out.splitlines():
            if line.startswith("#"):
                print(line, file=sys.stderr)
                continue
            name, limit, _unit, ops, value = line.split()
            value = float(value)
            if name not in best or value < best[name][2]:
                best[name] = (None if limit == "-" else limit, int(ops), value)
    return best


def counted(program, ids):
    """id -> instructions of one run of the workload"""
    counts = {}
    with tempfile.TemporaryDirectory(prefix="nestling-bench-") as folder:
        subprocess.run(["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no",
                        "--callgrind-out-file=" + folder + "/out", program, "--once"] + ids,
                       check=True, stdout=subprocess.DEVNULL)
        for name in glob.glob(folder + "/out*"):
            text = open(name).read()
            trigger = re.search(r"^desc: Trigger: Client Request: (\S+)", text, re.M)
            total = re.search(r"^(?:summary|totals): (\d+)", text, re.M)
            if trigger and total:
                counts[trigger.group(1)] = int(total.group(1))
    return counts


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--run", required=True)
    p.add_argument("--instr")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--out")
    p.add_argument("--append", action="store_true", help="to the list that is in the file already")
    p.add_argument("ids", nargs="*")
    a = p.parse_args()
    best = timed(a.run, a.runs, a.ids)
    counts = counted(a.instr, a.ids) if a.instr else {}
    rows = []
    print("%-26s %10s %10s %8s %8s %8s %8s" %
          ("", "ns/op", "limit", "ratio", "goal", "instr", "goal"))
    for name, (limit, ops, value) in best.items():
        bound = best[limit][2] if limit in best else None
        if limit is not None and bound is None and limit + name[-3:] in best:
            bound = best[limit + name[-3:]][2]
        ratio = value / bound if bound else None
        instr = counts[name] / ops if name in counts else None
        goal_ratio, goal_ns, goal_instr = GOALS.get(name, (None, None, None))
        print("%-26s %10.4f %10s %8s %8s %8s %8s" % (
            name, value, "%.4f" % bound if bound else "", "%.2f" % ratio if ratio else "",
            goal_ratio or ("%g ns" % goal_ns if goal_ns else ""),
            "%.1f" % instr if instr is not None else "", goal_instr or ""))
        rows.append({"id": name, "unit": "ns", "value": value, "limit": bound,
                     "ratio": round(ratio, 3) if ratio else None,
                     "instructions": round(instr, 2) if instr is not None else None,
                     "samples": a.runs * 9})
    if "W6b.1T" in best and "W6b.2T" in best:
        faster = best["W6b.1T"][2] / best["W6b.2T"][2]
        print("W6b: two threads are %.2f times as fast as one (goal 1.9)" % faster)
        rows.append({"id": "W6b.speedup", "unit": "x", "value": round(faster, 3), "limit": 2,
                     "ratio": round(faster / 2, 3), "instructions": None, "samples": a.runs})
    if a.out:
        if a.append:
            rows = json.load(open(a.out)) + rows
        with open(a.out, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
