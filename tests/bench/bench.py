#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Instruction counts of the paths through Nestling, on qemu-tcg-svm.

QEMU counts every instruction (-icount shift=0), and the time-stamp counter shows the count: exact, and
the same on every machine. bench.py --kernel ELF --checked ELF --guests FOLDER --out FILE.json
"""
import argparse
import json
import re
import sys
import tempfile

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/beds")
import beds  # noqa: E402

GOALS = {
    "cpuid": ("CPUID exit, round trip", 260, "KVM 933-1188, Xen 744"),
    "hypercall": ("hypercall", 260, "KVM 982-1242, Xen 683-720"),
    "out": ("port write handled inside", 350, "KVM 1183-1428"),
    "touch-ready": ("first touch of a 4 KiB page, memory at hand", 600, "KVM 2930"),
    "touch": ("the same, allocation and zeroing (512 iterations) included", 1212, "KVM 6177"),
    "boot": ("GRUB's hand-over to the first guest instruction", 20000000,
             "KVM 2,200,000,000; Xen 10,400,000,000"),
}


def measure(kernel, guests, mem):
    """name -> instructions, from one boot with `mem` MiB."""
    with tempfile.TemporaryDirectory(prefix="nestling-bench-") as folder:
        beds.make_iso(folder + "/b.iso", kernel, [(guests + "/bench.elf", ["mem=16M"])],
                      "console=script")
        machine = beds.BEDS["qemu-tcg-svm"].start(folder + "/b.iso", mem=mem, icount=True)
        try:
            machine.expect(r"^%ready\r?$", 300)
            machine.await_line(r"bench\| bench: done", 300)
            rows = machine.command("guest bench --json")[1]
            text = machine.log.decode("latin1").replace("\r", "")
            machine.send("quit\n")
            machine.wait(60)
        finally:
            machine.close()
    counts = {}
    for m in re.finditer(r"bench\| bench: (\S+) (\d+) min (\d+)", text):
        counts[m.group(1)] = int(m.group(2))
        if m.group(1) == "touch":
            # The first of them find memory that was zeroed ahead of time.
            counts["touch-ready"] = int(m.group(3))
    counts["boot"] = [json.loads(r)["started"] for r in rows if '"started"' in r][0]
    return counts


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--kernel", required=True)
    p.add_argument("--checked", required=True)
    p.add_argument("--guests", required=True)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    rows = []
    counts = measure(a.kernel, a.guests, 512)
    checked = measure(a.checked, a.guests, 512)
    print("%-62s %10s %10s %10s   %s" % ("instructions", "Nestling", "checked", "goal", "others"))
    for name, (what, goal, others) in GOALS.items():
        if name not in counts:
            sys.exit("the guest did not report '%s': %s" % (name, counts))
        print("%-62s %10d %10d %10d   %s" % (what, counts[name], checked[name], goal, others))
        rows.append({"id": "exit." + name, "unit": "instructions", "value": counts[name],
                     "limit": goal, "ratio": round(counts[name] / goal, 3),
                     "instructions": counts[name], "samples": 1})
    for name in sorted(set(counts) - set(GOALS)):
        print("%-62s %10d %10d" % (name, counts[name], checked[name]))
    for mem in (256, 1024, 2048, 3072):
        value = measure(a.kernel, a.guests, mem)["boot"]
        print("%-62s %10d" % ("hand-over to the first guest instruction with %d MiB" % mem, value))
        rows.append({"id": "boot.%dM" % mem, "unit": "instructions", "value": value, "limit": None,
                     "ratio": None, "instructions": value, "samples": 1})
    with open(a.out, "w") as f:
        json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
