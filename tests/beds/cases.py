# SPDX-License-Identifier: MPL-2.0
"""The machine tests: what a user sees, on every bed.

A case gets a Session: the machine, booted with the guests it names, in script mode. It asserts what it
wants to see; whatever it raises is the failure.
"""
import json
import os
import random
import re
import struct
import subprocess
import time

from beds import BedError

TCG = ("qemu-tcg-svm",)
VMX = ("bochs-vmx",)
SVM = ("bochs-svm",)
BOTH = TCG + VMX + ("qemu-kvm",)
ALL = BOTH + SVM

CASES = []


class Case:
    def __init__(self, run, bed, options):
        self.run, self.bed = run, bed
        self.name = run.__name__.replace("_", "-")
        self.options = options


def case(beds=BOTH, **options):
    def register(run):
        for bed in beds:
            CASES.append(Case(run, bed, options))
        return run
    return register


class Session:
    """What a case has at hand: console commands and the guests' lines."""

    def __init__(self, machine, bed, args, folder):
        self.machine = machine  # None for a case that does without, or starts its own
        self.bed = bed.name
        self.slow = 3 if bed.kind == "bochs" else 1
        self.args = args        # where the kernel and the guests are
        self.folder = folder    # for the case's own files

    def ready(self):
        return self.machine.expect(r"^%ready\r?$", 60 * self.slow)[0]

    def expect(self, pattern, timeout=40):
        return self.machine.await_line(pattern, timeout * self.slow)[1].group(0).decode()

    def text(self):
        return self.machine.log.decode("latin1").replace("\r", "")

    def until(self, what, timeout=20):
        """Asks until the answer is true, or the time is over; the last answer."""
        limit = time.monotonic() + timeout * self.slow
        while True:
            answer = what()
            if answer or time.monotonic() > limit:
                return answer

    def do(self, line):
        """A command that must succeed; its lines, without those of guests and of the log."""
        ok, lines = self.machine.command(line, 60 * self.slow)
        assert ok, "'%s' failed: %s" % (line, lines)
        return [l for l in lines if not re.match(r"^[\w.-]+\| ", l)]

    def fails(self, line):
        ok, lines = self.machine.command(line, 60 * self.slow)
        assert not ok, "'%s' was accepted: %s" % (line, lines)
        return "\n".join(lines)

    def rows(self, line):
        return [json.loads(l) for l in self.do(line + " --json") if l.startswith("{")]

    def guest(self, name):
        rows = [r for r in self.rows("guests") if r["guest"] == name]
        assert len(rows) == 1, "guest %s: %s" % (name, rows)
        return rows[0]

    def finished(self, name):
        """Its last line comes before its last hypercall."""
        assert self.until(lambda: self.guest(name)["state"] != "running"), "%s goes on" % name
        g = self.guest(name)
        assert (g["state"], g["status"]) == ("done", 0), g

    def mapped(self, name, at, page=4096):
        """The row of `ept` that covers a page, or None."""
        rows = self.rows("ept %s 0x%x+%d" % (name, at, page))
        return rows[0] if rows else None

    def sound(self):
        for row in self.rows("audit"):
            assert row["violations"] == 0, row

    def quit(self):
        self.machine.send("quit\n")
        assert self.machine.wait(30 * self.slow), "the machine did not report success"


# --- the mailbox of the guest `touch` -----------------------------------------------------------

READ, WRITE, EXEC, EXIT, SAY = 1, 2, 3, 4, 5
MAILBOX = 0x7000
TOUCH = "cmdline=pages=0x200000w,0x345000,0x400000wx counter=0x600000"


def post(s, command, at=0, value=0):
    s.do("write touch 0x%x %s" % (MAILBOX + 8, struct.pack("<QQ", at, value).hex()))
    s.do("write touch 0x%x %s" % (MAILBOX, struct.pack("<I", command).hex()))


def peek(s, at, fmt):
    rows = s.rows("read touch 0x%x %d" % (at, struct.calcsize(fmt)))
    return struct.unpack(fmt, bytes.fromhex("".join(r["bytes"] for r in rows)))


def ask(s, command, at=0, value=0):
    """Lets the guest do it; its result. Raises when the guest is not there any more to answer."""
    done = peek(s, MAILBOX, "<II")[1]
    post(s, command, at, value)

    def answered():
        if s.guest("touch")["state"] != "running":
            raise BedError("touch: " + s.guest("touch")["why"])
        return peek(s, MAILBOX, "<II")[1] != done

    if not s.until(answered):
        raise BedError("touch does not answer")
    return peek(s, MAILBOX + 24, "<Q")[0]


def stopped_by(s, command, at, value=0):
    """The guest must be stopped for this; the reason."""
    post(s, command, at, value)
    return stopped(s)


def stopped(s):
    assert s.until(lambda: s.guest("touch")["state"] == "stopped"), \
        "the guest goes on: %s" % s.guest("touch")
    return s.guest("touch")["why"]


# --- the guests ---------------------------------------------------------------------------------

@case(beds=ALL, guests=[("modes", "mem=16M")])
def modes_pass(s):
    s.expect(r"modes\| modes: pass \d+ checks")
    s.finished("modes")
    s.sound()
    s.quit()


@case(beds=TCG + ("qemu-kvm",), guests=[("memtest", "mem=32M")])
def memtest_passes(s):
    s.expect(r"memtest\| memtest: pass .*errors 0", 120)
    s.finished("memtest")
    # All of its memory was touched, and nothing beside it.
    total = sum(r["len"] for r in s.rows("ept memtest"))
    assert total >= (32 << 20) - (64 << 10), total
    assert total <= 32 << 20, total
    s.sound()
    s.quit()


@case(beds=VMX, guests=[("memtest", "mem=16M cmdline=limit=2M")])
def memtest_passes_in_part(s):
    s.expect(r"memtest\| memtest: pass .*errors 0", 120)
    s.finished("memtest")
    s.sound()
    s.quit()


@case(beds=ALL, guests=[("memtest", "name=large mem=32M page=2m cmdline=limit=4M")])
def large_pages(s):
    s.expect(r"large\| memtest: pass .*errors 0", 120)
    rows = s.rows("ept large")
    assert any(r["page"] == 2 << 20 for r in rows), rows
    s.do("protect large 0x201000+4K r-x")
    rows = s.rows("ept large 0x200000+2M")
    assert all(r["page"] == 4096 for r in rows) and len(rows) >= 3, rows
    assert [r["w"] for r in rows if r["gpa"] == "0x201000"] == [False], rows
    s.sound()
    s.quit()


@case(beds=ALL, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def touched_pages_are_mapped(s):
    s.expect(r"touch\| touch: done 3 pages")
    for at in (0x200000, 0x345000, 0x400000):
        row = s.mapped("touch", at)
        assert row and row["gpa"] == "0x%x" % at and row["len"] == 4096, row
        assert row["r"] and row["w"] and row["x"] and row["mem"] == "WB" and row["tracked"], row
    # Neighbours of what it touched, and memory that it has but never touched, are not there.
    for at in (0x1ff000, 0x201000, 0x344000, 0x346000, 0x800000, 0xfff000):
        assert s.mapped("touch", at) is None, hex(at)
    written, read = s.mapped("touch", 0x200000), s.mapped("touch", 0x345000)
    assert written["accessed"] and written["dirty"], written
    assert read["accessed"] and not read["dirty"], read
    # The walk agrees with the listing, and the bytes with what was written.
    walk = s.rows("walk touch 0x200008")
    assert [w["kind"] for w in walk[:-1]] == ["table"] * 3 + ["leaf"], walk
    assert walk[-1]["hpa"] == "0x%x" % (int(written["hpa"], 16) + 8), (walk, written)
    assert s.rows("walk touch 0x800000")[-1]["hpa"] is None
    assert peek(s, 0x200000, "<Q") == (0x200000,)
    # Backwards: the host frame knows what it is, and where it is mapped.
    frame = s.rows("frame " + written["hpa"])[0]
    assert frame["kind"] == "guest" and frame["references"] == 1, frame
    assert s.rows("find touch " + written["hpa"])[0]["gpa"] == "0x200000"
    s.sound()
    s.quit()


@case(beds=ALL, cpus=2, guests=[("touch", "mem=16M cpu=0 \"%s\"" % TOUCH),
                      ("modes", "mem=16M cpu=1"), ])
def two_guests_on_two_cpus(s):
    s.expect(r"modes\| modes: pass")
    assert s.guest("touch")["cpu"] == 0 and s.guest("modes")["cpu"] == 1
    assert ask(s, READ, 0x200000) == 0x200000
    s.sound()
    s.quit()


# (Not on bochs-svm: nothing there ends the turn of a guest that runs with interrupts off on the CPU whose
# timer it is; see docs/caveats.md.)
@case(beds=BOTH, cpus=1, guests=[("touch", "mem=16M cpus=4 \"%s\"" % TOUCH)])
def more_vcpus_than_cpus(s):
    s.expect(r"touch\| touch: done 3 pages")
    assert {v["cpu"] for v in s.rows("guest touch") if "vcpu" in v} == {0}
    # Each of the other vCPUs has its turns, though none of them ever leaves the guest by itself.
    assert s.until(lambda: all(n > 0 for n in peek(s, COUNTER, "<QQQ")), 60)
    first = peek(s, COUNTER, "<QQQ")
    assert s.until(lambda: all(b > a for a, b in zip(first, peek(s, COUNTER, "<QQQ"))), 60)
    assert ask(s, READ, 0x200000) == 0x200000
    s.sound()
    s.quit()


@case(beds=ALL, cpus=1, guests=[("touch", "mem=16M \"%s\"" % TOUCH), ("modes", "name=a mem=16M"),
                      ("modes", "name=b mem=16M"),
                      ("memtest", "name=c mem=16M cmdline=limit=1M")])
def more_guests_than_cpus(s):
    for line in (r"a\| modes: pass", r"b\| modes: pass", r"c\| memtest: pass"):
        s.expect(line, 120)
    assert ask(s, READ, 0x200000) == 0x200000
    assert len({r["cpu"] for r in s.rows("guests")}) == 1
    s.sound()
    s.quit()


@case(beds=("qemu-tcg-svm", "bochs-vmx", "qemu-kvm"),
      guests=[("hostile", "mem=16M"), ("touch", "mem=16M \"%s\"" % TOUCH)])
def hostile_is_contained(s):
    s.expect(r"hostile\| hostile: contained \d+ probes", 240)
    s.expect(r"guest 'hostile' stopped")
    g = s.guest("hostile")
    assert g["state"] == "stopped" and "triple fault" in g["why"], g
    assert "BREACH" not in s.text()
    # The other guest never noticed.
    assert ask(s, READ, 0x200000) == 0x200000
    s.sound()
    s.quit()


# --- changing what is mapped, under a running guest ---------------------------------------------

def downgrade(s):
    s.expect(r"touch\| touch: done 3 pages")
    ask(s, WRITE, 0x200000, 1)
    s.do("protect touch 0x200000 r-x")
    assert ask(s, READ, 0x200000) == 1
    why = stopped_by(s, WRITE, 0x200000, 2)
    assert "write" in why and "0x200000" in why and "r-x" in why, why
    assert peek(s, 0x200000, "<Q") == (1,)
    s.sound()
    s.quit()


@case(beds=ALL, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def litmus_downgrade(s):
    downgrade(s)


@case(beds=ALL, cpus=2, guests=[("touch", "mem=16M cpu=1 \"%s\"" % TOUCH)])
def litmus_downgrade_on_another_cpu(s):
    downgrade(s)


@case(beds=ALL, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def litmus_no_rights(s):
    s.expect(r"touch\| touch: done 3 pages")
    s.do("protect touch 0x345000 -")
    row = s.mapped("touch", 0x345000)
    assert not (row["r"] or row["w"] or row["x"]), row
    why = stopped_by(s, READ, 0x345000)
    assert "read" in why and "0x345000" in why, why
    s.quit()


@case(beds=ALL, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def litmus_unmap(s):
    s.expect(r"touch\| touch: done 3 pages")
    ask(s, WRITE, 0x200000, 7)
    faults, old = s.guest("touch")["faults"], s.mapped("touch", 0x200000)["hpa"]
    assert s.do("unmap touch 0x200000") == ["1 pages unmapped"]
    assert s.mapped("touch", 0x200000) is None
    # The touch faults, and what it finds is a fresh page.
    assert ask(s, READ, 0x200000) == 0
    assert s.guest("touch")["faults"] == faults + 1
    assert s.rows("frame " + old)[0]["references"] in (0, 1)
    s.sound()
    s.quit()


@case(beds=ALL, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def litmus_remap(s):
    s.expect(r"touch\| touch: done 3 pages")
    ask(s, WRITE, 0x200000, 7)
    old = s.mapped("touch", 0x200000)["hpa"]
    s.do("map touch 0x200000 rwx")
    assert s.mapped("touch", 0x200000)["hpa"] != old
    s.do("write touch 0x200000 " + struct.pack("<Q", 99).hex())
    assert ask(s, READ, 0x200000) == 99
    s.sound()
    s.quit()


@case(beds=ALL, guests=[("touch", "mem=16M page=2m \"%s\"" % TOUCH)])
def large_pages_fall_apart_and_are_joined(s):
    s.expect(r"touch\| touch: done 3 pages")
    large = s.mapped("touch", 0x800000, 2 << 20)
    if large is None:
        ask(s, WRITE, 0x800000, 77)
        large = s.mapped("touch", 0x800000, 2 << 20)
    assert large["page"] == 2 << 20, large
    ask(s, WRITE, 0x805000, 99)
    s.do("protect touch 0x805000 rw-")
    s.do("protect touch 0x805000 rwx")
    assert s.mapped("touch", 0x805000)["page"] == 4096
    assert s.do("collapse touch 0x805000+4K") == ["0 pages of 2 MiB joined, 0 of 1 GiB"]
    row = s.rows("collapse touch 0x800000+2M")[0]
    assert row["2M"] == 1, row
    now = s.mapped("touch", 0x800000, 2 << 20)
    assert now["page"] == 2 << 20 and now["hpa"] == large["hpa"] and now["dirty"] in (True, None), now
    assert ask(s, READ, 0x805000) == 99
    # Pages of their own, side by side only by chance, stay what they are.
    s.do("map touch 0xa00000+2M")
    assert s.rows("collapse touch 0xa00000+2M")[0]["2M"] in (0, 1)
    s.sound()
    s.quit()


@case(beds=ALL, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def a_device_is_given_and_taken(s):
    s.expect(r"touch\| touch: done 3 pages")
    s.do("device touch 0x800000 0xb8000+4K")
    row = s.mapped("touch", 0x800000)
    assert row["hpa"] == "0xb8000" and not row["tracked"] and row["mem"] == "UC" and row["w"], row
    # The text screen's memory keeps what is written to it, wherever it is mapped.
    ask(s, WRITE, 0x800000, 0x0748074507590721)
    assert ask(s, READ, 0x800000) == 0x0748074507590721
    assert s.rows("device touch") == [
        {"guest": "touch", "gpa": "0x800000", "hpa": "0xb8000", "len": 4096}]
    assert "device" in s.fails("read touch 0x800000 8")
    assert s.rows("find touch 0xb8008")[0]["gpa"] == "0x800008"
    for line, why in [("device touch 0x900000 0x200000+4K", "RAM"),
                      ("device touch 0x800000 0xb8000+4K", "something mapped"),
                      ("device touch 0x900000 0xb8000-0x0", "host range"),
                      ("device touch 0x900001 0xb8000+4K", "multiple"),
                      ("device touch 0x900000 none", "begins at"),
                      ("device touch 0x900000", "what is to be"),
                      ("device touch zzz none", "address"),
                      ("device touch 0x900000 0xb8000+4K rq", "rights")]:
        assert why in s.fails(line), line
    s.do("device touch 0x800000 none")
    assert s.mapped("touch", 0x800000) is None
    assert ask(s, READ, 0x800000) == 0
    s.do("device touch 0xa00000 0xb8000+4K r")
    assert ask(s, READ, 0xa00000) == 0x0748074507590721
    s.sound()
    s.machine.send("quit\n")
    assert not s.machine.wait(30 * s.slow), "failures were forgotten"


COUNTER = 0x600000 + 8
SPINNING = [("touch", "mem=16M cpus=2 cpu=0 \"%s\"" % TOUCH)]


def count(s):
    return peek(s, COUNTER, "<Q")[0]


def counts(s):
    """The second vCPU increments a counter on CPU 1 and never leaves the guest by itself: whatever it
    does through a stale translation lands in the old frame. Waits until it counts."""
    s.expect(r"touch\| touch: done 3 pages")
    assert s.until(lambda: count(s) > 0), "the second vCPU does not count"
    return s.mapped("touch", 0x600000)["hpa"]


def counts_anew(s, hpa):
    assert s.until(lambda: s.mapped("touch", 0x600000)), "it does not touch the page any more"
    assert s.mapped("touch", 0x600000)["hpa"] != hpa
    after = count(s)
    assert s.until(lambda: count(s) != after), "it counts somewhere else: the translation is stale"
    # It may have been between two turns at the moment of the change: then a later one finds it inside.
    assert kicks(s) > 0 or s.until(lambda: s.do("map touch 0x600000 rwx") and kicks(s) > 0)
    s.sound()
    s.quit()


def kicks(s):
    return [r for r in s.rows("tlb") if r["guest"] == "touch"][0]["kicks"]


def then_count(s, line):
    """Runs a command, and looks at the counter as soon as it is over. (A stale translation lives until
    the turn of 10 ms ends; two commands that are typed at once take less.)"""
    (done, lines), (seen, rows) = s.machine.commands(
        [line, "read touch 0x%x 8 --json" % COUNTER], 60 * s.slow)
    assert done and seen, (lines, rows)
    row = [r for r in rows if r.startswith("{")][0]
    return struct.unpack("<Q", bytes.fromhex(json.loads(row)["bytes"]))[0]


def nobody_writes(s, hpa):
    """QEMU's monitor looks at the frame that was given up. (Who gets it next may write it once.)"""
    seen = [re.search(r": (0x\w+)", s.machine.monitor("xp /1gx 0x%x" % (int(hpa, 16) + 8))).group(1)
            for _ in range(10)]
    assert len(set(seen)) <= 2, "%s is still written: %s" % (hpa, seen)


@case(beds=ALL, cpus=2, guests=SPINNING)
def litmus_remap_under_a_spinning_cpu(s):
    hpa = counts(s)
    s.do("map touch 0x600000 rwx")
    if s.machine.qemu:
        nobody_writes(s, hpa)
    else:
        # Bochs runs its CPUs in lockstep: whoever was made to leave the guest has counted again.
        first = [then_count(s, "map touch 0x600000 rwx") for _ in range(10)]
        assert first.count(0) <= 1, "its writes go to the old frame: %s" % first
    counts_anew(s, hpa)


@case(beds=ALL, cpus=2, guests=SPINNING)
def litmus_unmap_under_a_spinning_cpu(s):
    hpa = counts(s)
    faults = s.guest("touch")["faults"]
    assert s.do("unmap touch 0x600000") == ["1 pages unmapped"]
    if s.machine.qemu:
        nobody_writes(s, hpa)
    assert s.until(lambda: s.guest("touch")["faults"] > faults), "its touch does not fault"
    counts_anew(s, hpa)


@case(beds=ALL, cpus=2, guests=SPINNING)
def litmus_downgrade_under_a_spinning_cpu(s):
    counts(s)
    first = then_count(s, "protect touch 0x600000 r-x")
    why = stopped(s)
    assert "0x60000" in why and "r-x" in why, why
    assert count(s) == first, "it was written after the downgrade took effect"
    s.quit()


@case(beds=ALL, cpus=2, guests=SPINNING)
def guest_and_console_copy_at_once(s):
    """The second vCPU counts in the very page that the console reads and writes, through readers and
    writers as a device does: no count is seen torn or twice backwards, no write of either is lost."""
    counts(s)
    seen = [peek(s, COUNTER, "<Q")[0] for _ in range(20)]
    assert seen == sorted(seen) and seen[0] < seen[-1], seen
    before = count(s)
    for i in range(10):
        # On both sides of the counter, with it between.
        s.do("write touch 0x%x %s" % (COUNTER + 8, struct.pack("<Q", i).hex()))
        s.do("write touch 0x%x %s" % (COUNTER - 4, struct.pack("<I", i).hex()))
        left, now, right = peek(s, COUNTER - 4, "<IQQ")
        assert (left, right) == (i, i) and now >= before, (left, now, right, before)
        before = now
    assert s.until(lambda: count(s) > before), "it counts no more"
    s.sound()
    s.quit()


@case(beds=ALL, cpus=2, guests=[("walk", "mem=16M cpus=2 cpu=0")])
def tables_change_under_a_walk(s):
    """OUTS and INS go through the guest's tables, which another vCPU changes all the time: each byte is
    from, and goes to, one of the two places that the entry has ever named."""
    said = s.expect(r"walk\| walk: \d+ of 2048 bytes taken", 120)
    assert "2048 of 2048" in said, said
    lines = re.findall(r"walk\| ([ab]+)$", s.text(), re.M)
    printed = [l for l in lines if len(l) == 60]
    assert len(printed) == 40, "%d lines of 40: %s" % (len(printed), lines)
    assert len(set("".join(printed))) == 2, "the entry never changed under a walk: %s" % printed
    s.finished("walk")
    s.sound()
    s.quit()


def memory(s):
    return {r["use"]: r["bytes"] for r in s.rows("mem")}


def change_at_random(s, base, span, vcpus):
    """Many changes, small and large, around pages that `vcpus` vCPUs write all the time. Rights are never
    taken from those pages, so the guest must go on; nothing may be lost, and nothing left. SEED=N in the
    environment gives other changes."""
    s.expect(r"touch\| touch: done 3 pages")
    dice = random.Random(int(os.environ.get("SEED", 1)))
    lines = []
    for _ in range(120 if s.slow == 1 else 60):
        at = base + dice.randrange(span // 4096) * 4096
        size = min(dice.choice([1, 1, 2, 7, 64, 512, 700]) * 4096, base + span - at)
        free = at + size <= 0x600000 or at > 0x600000
        what = dice.choice(["map", "unmap", "protect"])
        rights = dice.choice(["r", "r-x", "rw", "-"]) if free and what == "protect" else "rwx"
        lines.append("%s touch 0x%x+%d %s" % (what, at, size, "" if what == "unmap" else rights))
    for i in range(0, len(lines), 6):
        for line, (ok, said) in zip(lines[i:], s.machine.commands(lines[i:i + 6], 60 * s.slow)):
            assert ok, (line, said)
        s.sound()
    first = peek(s, COUNTER, "<%dQ" % vcpus)
    assert s.until(lambda: all(a != b for a, b in zip(first, peek(s, COUNTER, "<%dQ" % vcpus)))), first
    assert ask(s, READ, 0x7ff8) == 0
    s.do("stop touch")
    assert s.until(lambda: memory(s)["guest"] == memory(s)["stage2-table"] == 0), memory(s)
    s.sound()
    s.machine.send("quit\n")
    s.machine.wait(30)


@case(beds=ALL, cpus=3, guests=[("touch", "mem=16M cpus=3 cpu=0 \"%s\"" % TOUCH)])
def changes_at_random(s):
    change_at_random(s, 0x500000, 0x300000, 2)


@case(beds=ALL, cpus=3, guests=[("touch", "mem=16M page=2m cpus=3 cpu=0 \"%s\"" % TOUCH)])
def changes_at_random_of_large_pages(s):
    change_at_random(s, 0x400000, 0xc00000, 2)


@case(beds=ALL, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def dirty_and_accessed(s):
    s.expect(r"touch\| touch: done 3 pages")
    first = {r["gpa"] for r in s.rows("dirty touch")}
    assert "0x200000" in first and "0x345000" not in first, first
    ask(s, WRITE, 0x345000, 5)
    again = {r["gpa"] for r in s.rows("dirty touch")}
    assert "0x345000" in again and "0x200000" not in again, again
    s.sound()
    s.quit()


@case(beds=ALL, cpus=2, guests=[("touch", "mem=16M cpu=1 \"%s\"" % TOUCH)])
def pause_look_and_stop(s):
    s.expect(r"touch\| touch: done 3 pages")
    s.do("pause touch")
    assert s.guest("touch")["state"] == "paused"
    exits = s.guest("touch")["exits"]
    regs = s.rows("regs touch")[0]
    assert int(regs["rip"], 16) > 0 and int(regs["cr0"], 16) & 0x80000001 == 0x80000001, regs
    assert s.guest("touch")["exits"] == exits
    s.fails("pause touch")
    s.do("resume touch")
    assert ask(s, READ, 0x200000) == 0x200000
    assert any(r["reason"] == "stage2" and r["count"] > 0 for r in s.rows("exits touch"))
    s.do("stop touch")
    assert s.rows("guests") == []
    # Everything comes back: no guest page and no table of a guest is left.
    assert s.until(lambda: memory(s)["guest"] == memory(s)["stage2-table"] == 0), memory(s)
    s.sound()
    s.machine.send("quit\n")
    s.machine.wait(30)


@case(guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def host_memory_for_a_guest(s):
    s.expect(r"touch\| touch: done 3 pages")
    s.do("pause touch")
    with_guest = memory(s)
    touched = s.guest("touch")["touched"]
    s.do("stop touch")
    assert s.until(lambda: memory(s)["stage2-table"] == 0), memory(s)
    without = memory(s)
    extra = sum(with_guest[u] - without[u] for u in ("kernel", "stage2-table", "host-table"))
    assert with_guest["guest"] == touched, (with_guest, touched)
    assert 0 < extra <= 128 << 10, "a 16 MiB guest costs %d bytes beyond its touched pages" % extra
    s.machine.send("quit\n")
    s.machine.wait(30)


# --- the console --------------------------------------------------------------------------------

@case(beds=TCG + VMX, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def console_refuses_nonsense(s):
    s.expect(r"touch\| touch: done 3 pages")
    for line, word in (("frobnicate", "frobnicate"), ("guest", "usage"), ("ept nobody", "nobody"),
                       ("ept touch 0x1000-0x1000", "0x1000-0x1000"), ("ept touch xyz", "xyz"),
                       ("ept touch 0x1000000000000+4K", "end"), ("walk touch 12q", "12q"),
                       ("walk touch 0x1000000000000", "end at"), ("read touch 0x800000 16", "not mapped"),
                       ("read touch 0x200000 0", "length"), ("read touch 0x200000 99999", "4096"),
                       ("write touch 0x200000 0g", "0g"), ("write touch 0x1000000 00", "0x1000000"),
                       ("protect touch 0x200000 rq", "rq"), ("protect touch 0x200000 w", "express"),
                       ("unmap touch 0xfff000+8K", "ends at"), ("log loud", "loud"),
                       ("regs touch 7", "7"), ("frame 0x7fffffff000", "RAM"), ("--json", "command"),
                       ("help nothing", "nothing"), ("resume touch", "not paused")):
        answer = s.fails(line)
        assert "error: " in answer and word in answer, (line, answer)
    assert "did you mean 'guests'" in s.fails("guets")
    for line in ("help", "help ept", "guests", "guest touch", "exits", "mem", "tlb", "log", "log info"):
        s.do(line)
    # quit tells the bed that commands have failed.
    s.machine.send("quit\n")
    assert not s.machine.wait(30 * s.slow), "failures were forgotten"


@case(beds=TCG + VMX, guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def a_write_stops_at_the_page_that_may_not_be_written(s):
    s.expect(r"touch\| touch: done 3 pages")
    s.do("map touch 0x900000+8K")
    s.do("protect touch 0x901000+4K r")
    s.do("dirty touch")
    answer = s.fails("write touch 0x900ffd aabbccddee")
    assert "3 bytes are written" in answer and "0x901000 cannot be" in answer, answer
    assert "0x901000" in s.fails("write touch 0x901000 11")
    assert "aa bb cc" in "".join(s.do("read touch 0x900ffd 3"))
    assert "00 00" in "".join(s.do("read touch 0x901000 2"))
    dirty = "\n".join(s.do("dirty touch"))
    assert "000000900000-000000901000" in dirty and "901000-" not in dirty, dirty
    s.do("audit")


# --- bad input ----------------------------------------------------------------------------------

def elf(segments, entry=0x8000, cut=None, patch=()):
    """A 64-bit ELF file with program headers (address, file size, memory size)."""
    data = 64 + 56 * len(segments)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0,
                                                           64, 56, len(segments), 0, 0, 0)
    table = b"".join(struct.pack("<IIQQQQQQ", 1, 7, data, at, at, fs, ms, 4096)
                     for at, fs, ms in segments)
    image = bytearray(head + table + b"\xf4" * 4096)
    for offset, value in patch:
        image[offset:offset + len(value)] = value
    return bytes(image[:cut])


BAD_IMAGES = [
    ("empty", b"", "empty"),
    ("text", b"#!/bin/sh\necho hello\n" * 10, "not an ELF"),
    ("cut-header", elf([(0x8000, 16, 16)], cut=58), "ELF"),
    ("cut-table", elf([(0x8000, 16, 16)] * 3, cut=100), "cut off|truncated"),
    ("cut-segment", elf([(0x8000, 4096, 4096)], cut=1000), "cut off|truncated"),
    ("overlap", elf([(0x8000, 16, 0x2000), (0x9000, 16, 16)]), "overlap"),
    ("wrap", elf([(0xfffffffffffff000, 16, 0x2000)]), "wrap"),
    ("beyond", elf([(0x8000, 16, 16), (0x2000000, 16, 16)]), "beyond|exceed"),
    ("entry", elf([(0x8000, 16, 16)], entry=0x200000), "entry"),
    ("nothing", elf([]), "no segment|nothing"),
]

BAD_LINES = [
    ("mem=lots", "mem"), ("mem=100T", "mem"), ("mem=16384M", "memory|free"), ("cpus=99", "cpus"),
    ("page=3k", "page"), ("colour=blue", "colour"), ("cpu=17", "cpu"), ("name=a/b", "name"),
]


def bad_guests(folder):
    guests = []
    for name, image, _ in BAD_IMAGES:
        path = os.path.join(folder, name + ".elf")
        with open(path, "wb") as f:
            f.write(image)
        guests.append((path, "name=%s mem=16M" % name))
    return guests


def no_panic(s):
    assert "PANIC" not in s.text(), s.text()


@case(beds=TCG + VMX, guests=lambda folder: bad_guests(folder) + [("modes", "name=good mem=16M")])
def bad_images(s):
    s.expect(r"good\| modes: pass")
    for name, _, words in BAD_IMAGES:
        lines = [l for l in s.text().split("\n") if l.startswith("error: ") and "'%s'" % name in l]
        assert len(lines) == 1, (name, lines)
        assert re.search(words, lines[0]), lines
    assert [r["guest"] for r in s.rows("guests")] == ["good"]
    no_panic(s)
    s.sound()
    s.quit()


@case(beds=TCG + VMX, guests=[("modes", line) for line, _ in BAD_LINES] +
      [("modes", "name=twin"), ("modes", "name=twin"), ("modes", "name=good mem=16M")])
def bad_options(s):
    s.expect(r"good\| modes: pass")
    errors = [l for l in s.text().split("\n") if l.startswith("error: ")]
    for line, words in BAD_LINES:
        assert any(re.search(words, e) for e in errors), (line, errors)
    assert any("twin" in e for e in errors), errors
    assert len(errors) == len(BAD_LINES) + 1, errors
    no_panic(s)
    s.quit()


@case(beds=TCG + VMX, guests=[("nothere.elf", "name=nothere mem=16M"),
                              ("modes", "name=good mem=16M")], missing=["nothere.elf"])
def missing_image(s):
    s.expect(r"good\| modes: pass")
    errors = [l for l in s.text().split("\n") if l.startswith("error: ")]
    assert len(errors) == 1 and "'nothere'" in errors[0] and "was not found" in errors[0], errors
    assert [r["guest"] for r in s.rows("guests")] == ["good"]
    no_panic(s)
    s.quit()


@case(beds=TCG + VMX, guests=[])
def no_guest_at_all(s):
    assert s.rows("guests") == []
    s.sound()
    s.quit()


@case(beds=TCG + VMX, mem=96, guests=[("modes", "name=a mem=60M"), ("modes", "name=b mem=60M"),
                                      ("modes", "name=c mem=16M")])
def more_memory_than_there_is(s):
    """The second guest alone would fit."""
    s.expect(r"a\| modes: pass")
    s.expect(r"c\| modes: pass")
    errors = [l for l in s.text().split("\n") if l.startswith("error: ")]
    assert len(errors) == 1 and "'b'" in errors[0] and "mem=60M" in errors[0], errors
    assert re.search(r"the \d+M that are free", errors[0]), errors
    no_panic(s)
    s.quit()


CMDLINE = "it's \"so\"; $x {y} back\\slash #z"


@case(beds=TCG + VMX, guests=[("modes", ["mem=16M", "cmdline=" + CMDLINE])])
def command_line_of_a_guest(s):
    """Whatever is in it, it arrives as it was given."""
    s.expect(r"modes\| modes: pass")
    rows = s.rows("read modes 0x500 128")
    page = bytes.fromhex("".join(r["bytes"] for r in rows))
    assert page[:4] == b"NSTL" and page[12:].split(b"\0")[0] == CMDLINE.encode(), page
    s.quit()


@case(beds=TCG + VMX, cmdline="log=debug colour=blue log=loud console=script",
      guests=[("modes", "mem=16M")])
def bad_command_line(s):
    s.expect(r"modes\| modes: pass")
    errors = [l for l in s.text().split("\n") if l.startswith("error: ")]
    assert any("colour" in e for e in errors) and any("log=loud" in e for e in errors), errors
    s.quit()


def refused(s, words):
    lines = [l for l in s.text().split("\n") if l.startswith("error: no guest can run")]
    assert len(lines) == 1 and re.search(words, lines[0]), (words, s.text())
    assert s.rows("guests") == []
    assert any(words_in in "\n".join(s.do("guests")) for words_in in ("no guests",))
    no_panic(s)
    s.sound()
    s.quit()


@case(beds=TCG, model="qemu64,-svm", guests=[("modes", "")])
def cpu_without_svm(s):
    refused(s, "no AMD-V")


@case(beds=TCG, model="qemu64,+svm,-npt", guests=[("modes", "")])
def cpu_without_npt(s):
    refused(s, "NPT")


@case(beds=TCG, model="Nehalem", guests=[("modes", "")])
def cpu_without_vmx(s):
    refused(s, "no VT-x")


@case(beds=VMX, model="core2_penryn_t9600", guests=[("modes", "")])
def cpu_with_vmx_without_ept(s):
    refused(s, "EPT|secondary controls")


@case(beds=VMX, model="corei5_lynnfield_750", guests=[("modes", "")])
def cpu_without_unrestricted_guest(s):
    refused(s, "unrestricted guest")


@case(beds=VMX, guests=[("modes", "")],
      debug=lambda args: ['lb %s if "ecx == 0x3a"' % after_rdmsr(args), "c", "set eax = 1"])
def vmx_locked_off_by_firmware(s):
    """No model here has a firmware that does this, so Bochs's debugger answers the first read of
    IA32_FEATURE_CONTROL in its place: locked, VMX off."""
    refused(s, "locked off by the firmware: enable VT-x")


def after_rdmsr(args):
    """Where msr_read_safe() goes on behind its RDMSR."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", "--disassemble=msr_read_safe",
                           args.kernel], check=True, capture_output=True, text=True).stdout
    return "0x" + re.search(r"rdmsr\s*\n\s*([0-9a-f]+):", text).group(1)


@case(beds=SVM, model="turion64_tyler", guests=[("modes", "")])
def cpu_with_svm_without_npt(s):
    refused(s, "NPT")


@case(beds=SVM, model="phenom_8650_toliman", guests=[("modes", "mem=16M")])
def svm_without_next_rip(s):
    s.expect(r"modes\| modes: pass")
    s.quit()


@case(beds=VMX, model="corei7_haswell_4770", guests=[("modes", "mem=16M")])
def vmx_without_page_modification_log(s):
    s.expect(r"modes\| modes: pass")
    s.quit()


@case(beds=VMX, model="corei7_icelake_u", guests=[("modes", "mem=16M")])
def vmx_of_a_later_cpu(s):
    s.expect(r"modes\| modes: pass")
    s.quit()


@case(beds=VMX, model="corei7_sandy_bridge_2600k", guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def ept_without_accessed_and_dirty(s):
    s.expect(r"touch\| touch: done 3 pages")
    row = s.mapped("touch", 0x200000)
    assert row["accessed"] is None and row["dirty"] is None, row
    assert "keeps no such mark" in s.fails("dirty touch")
    s.machine.send("quit\n")
    s.machine.wait(60)


# --- boots --------------------------------------------------------------------------------------

@case(beds=TCG, firmware="uefi", guests=[("modes", "mem=16M")])
def boots_under_uefi(s):
    s.expect(r"modes\| modes: pass", 60)
    s.sound()
    s.quit()


@case(beds=TCG + VMX, cpus=4, guests=[("modes", "name=a cpu=0"), ("modes", "name=b cpu=1"),
                                      ("modes", "name=c cpu=2"), ("modes", "name=d cpu=3")])
def four_cpus(s):
    for name in "abcd":
        s.expect(r"%s\| modes: pass" % name, 90)
    assert "4 CPUs" in s.text()
    s.sound()
    s.quit()


@case(beds=TCG, mem=3072, guests=[("modes", "mem=16M")])
def large_machine(s):
    s.expect(r"modes\| modes: pass")
    total = [r for r in s.rows("mem") if r["use"] == "total"][0]["bytes"]
    assert total > 3000 << 20, total
    s.sound()
    s.quit()


@case(beds=TCG, mem=6144, guests=[("memtest", "mem=16M page=1g cmdline=limit=1M")])
def memory_above_4_gib(s):
    s.expect(r"memtest\| memtest: pass")
    total = [r for r in s.rows("mem") if r["use"] == "total"][0]["bytes"]
    assert total > 6000 << 20, total
    s.sound()
    s.quit()


@case(beds=TCG, guests=[("modes", "mem=16M")])
def nothing_is_writable_and_executable(s):
    """QEMU walks our tables by itself: an oracle that shares no code with us."""
    s.expect(r"modes\| modes: pass")
    pages = writable = 0
    for line in s.machine.monitor("info tlb").split("\n"):
        m = re.match(r"([0-9a-f]{16}): ([0-9a-f]{16}) (\S{9,})$", line.strip())
        if not m:
            continue
        pages += 1
        executable = m.group(3)[0] != "X"
        writable += m.group(3)[-1] == "W"
        assert not (executable and m.group(3)[-1] == "W"), line
        assert int(m.group(1), 16) >= 1 << 63, "the lower half is mapped: " + line
    assert pages > 100 and writable > 50, (pages, writable)
    s.quit()


@case(beds=ALL, guests=[("modes", "mem=16M")])
def faults_are_survived(s):
    """The audit touches what is not there, what is not canonical and what is constant."""
    s.expect(r"modes\| modes: pass")
    rows = [r for r in s.rows("audit") if r["what"] == "faults"]
    assert len(rows) == 1 and rows[0]["violations"] == 0, rows
    s.quit()


@case(beds=ALL, cpus=2, guests=[("touch", "mem=16M cpu=1 \"%s\"" % TOUCH)])
def areas_are_dropped_and_reused(s):
    """On the machine's own MMU, while the other CPU runs a guest, and while it is idle."""
    s.expect(r"touch\| touch: done 3 pages")
    assert [r["test"] for r in s.rows("test")] == ["kvirt"]
    before = {r["use"]: r["bytes"] for r in s.rows("mem")}
    for state in ("running", "paused"):
        assert s.guest("touch")["state"] == state
        assert s.rows("test kvirt") == [{"test": "kvirt", "passed": True}]
        if state == "running":
            s.do("pause touch")
    after = {r["use"]: r["bytes"] for r in s.rows("mem")}
    assert after["host-table"] - before["host-table"] < 64 << 10, (before, after)
    assert "no test 'x'" in s.fails("test x")
    s.sound()
    s.machine.send("quit\n")
    s.machine.wait(60)


# --- the same on four CPUs: three spin in the guest while another changes its memory ------------

FOUR = [("touch", "mem=16M cpus=4 cpu=0 \"%s\"" % TOUCH)]
# The console's CPU runs no guest: two commands follow each other at once, within a turn of the others.
BESIDE = [("touch", "mem=16M cpus=4 cpu=1 \"%s\"" % TOUCH)]
SPINNERS = 3
SPIN_PAGE = 0x600000


def tlb(s, name="touch"):
    return [r for r in s.rows("tlb") if r["guest"] == name][0]


def three(s):
    """What the three have counted."""
    return peek(s, COUNTER, "<3Q")


def moved(s, before):
    """Each of them goes on, in the page that is mapped now."""
    return s.until(lambda: all(a != b for a, b in zip(before, three(s))))


def three_spin(s):
    """Three vCPUs, each on a CPU of its own, write one page all the time and never leave the guest by
    themselves. Waits until they do; where the page is."""
    s.expect(r"touch\| touch: done 3 pages")
    assert len({v["cpu"] for v in s.rows("guest touch") if "vcpu" in v}) == 1 + SPINNERS
    assert s.until(lambda: all(three(s))), "not all of them count: %s" % (three(s),)
    return s.mapped("touch", SPIN_PAGE)["hpa"]


def then_three(s, *lines):
    """Commands, and what the three have counted as soon as they are over (see then_count)."""
    answers = s.machine.commands([*lines, "read touch 0x%x 24 --json" % COUNTER], 60 * s.slow)
    assert all(ok for ok, _ in answers), answers
    said = "".join(json.loads(r)["bytes"] for r in answers[-1][1] if r.startswith("{"))
    return struct.unpack("<3Q", bytes.fromhex(said))


def none_writes(s, hpa):
    """As nobody_writes, for the words of all three."""
    for word in range(1, 1 + SPINNERS):
        line = "xp /1gx 0x%x" % (int(hpa, 16) + 8 * word)
        seen = {re.search(r": (0x\w+)", s.machine.monitor(line)).group(1) for _ in range(10)}
        assert len(seen) <= 2, "vCPU %d still writes %s: %s" % (word, hpa, seen)


def three_count_anew(s):
    assert s.until(lambda: s.mapped("touch", SPIN_PAGE)), "nobody touches the page any more"
    before = three(s)
    assert moved(s, before), "one counts somewhere else: %s, %s" % (before, three(s))
    s.sound()
    s.quit()


@case(beds=ALL, cpus=5, guests=BESIDE)
def litmus_remap_under_three_spinning_cpus(s):
    hpa = three_spin(s)
    kicks = tlb(s)["kicks"]
    s.do("map touch 0x600000 rwx")
    assert s.mapped("touch", SPIN_PAGE)["hpa"] != hpa
    if s.machine.qemu:
        none_writes(s, hpa)
    else:
        # In lockstep: who was made to leave the guest counts again, from 0, before the next command.
        seen = [then_three(s, "map touch 0x600000 rwx") for _ in range(16)]
        assert sum(n == 0 for n in sum(seen, ())) <= 1, "writes go to the old frame: %s" % seen
    assert tlb(s)["kicks"] > kicks
    three_count_anew(s)


@case(beds=ALL, cpus=5, guests=BESIDE)
def litmus_unmap_under_three_spinning_cpus(s):
    hpa = three_spin(s)
    for _ in range(4):
        faults = s.guest("touch")["faults"]
        assert s.do("unmap touch 0x600000") == ["1 pages unmapped"]
        if s.machine.qemu:
            none_writes(s, hpa)
        assert s.until(lambda: s.guest("touch")["faults"] > faults), "its touch does not fault"
        assert s.until(lambda: s.mapped("touch", SPIN_PAGE)), "nobody touches the page any more"
        hpa = s.mapped("touch", SPIN_PAGE)["hpa"]
        assert s.until(lambda: all(three(s))), three(s)
    s.do("unmap touch 0x600000")
    three_count_anew(s)


@case(beds=ALL, cpus=5, guests=BESIDE)
def litmus_downgrade_under_three_spinning_cpus(s):
    three_spin(s)
    first = then_three(s, "protect touch 0x600000 r-x")
    why = stopped(s)
    assert "write" in why and re.search(r"0x6000(08|10|18)\b", why) and "r-x" in why, why
    assert three(s) == first, "written after the downgrade: %s, %s" % (first, three(s))
    s.sound()
    s.quit()


@case(beds=ALL, cpus=5, guests=BESIDE)
def litmus_no_rights_under_three_spinning_cpus(s):
    three_spin(s)
    # What has no right at all the console cannot read either.
    first = then_three(s, "protect touch 0x600000 -", "protect touch 0x600000 r")
    why = stopped(s)
    assert re.search(r"0x6000(08|10|18)\b", why), why
    assert three(s) == first, "written without any right: %s, %s" % (first, three(s))
    s.sound()
    s.quit()


# A page that only the first vCPU uses, while the three spin beside it.

@case(beds=ALL, cpus=4, guests=FOUR)
def litmus_downgrade_on_four_cpus(s):
    downgrade(s)


@case(beds=ALL, cpus=4, guests=FOUR)
def litmus_no_rights_on_four_cpus(s):
    litmus_no_rights(s)


@case(beds=ALL, cpus=4, guests=FOUR)
def litmus_unmap_on_four_cpus(s):
    litmus_unmap(s)


@case(beds=ALL, cpus=4, guests=FOUR)
def litmus_remap_on_four_cpus(s):
    litmus_remap(s)


@case(beds=ALL, cpus=4, guests=[("touch", "mem=16M cpus=3 cpu=0 \"%s\"" % TOUCH),
                                ("touch", "name=other mem=16M cpu=3 \"%s\"" % TOUCH)])
def kicks_are_of_the_cpus_inside(s):
    """Who changes a space kicks the CPUs that run it, each once, and no other: not those that run another
    guest, and nobody when all are paused."""
    s.expect(r"touch\| touch: done 3 pages")
    s.expect(r"other\| touch: done 3 pages")
    assert s.until(lambda: all(peek(s, COUNTER, "<2Q")))
    other = tlb(s, "other")
    kicks = [tlb(s)["kicks"]]
    for _ in range(12):
        s.do("map touch 0x600000 rwx")
        kicks.append(tlb(s)["kicks"])
    each = [b - a for a, b in zip(kicks, kicks[1:])]
    # One may be between two turns at that moment.
    assert max(each) == 2 and sum(each) >= 12, each
    s.do("pause touch")
    assert int(tlb(s)["inside"], 16) == 0, tlb(s)
    kicks = tlb(s)["kicks"]
    s.do("map touch 0x600000 rwx")
    s.do("unmap touch 0x200000")
    assert tlb(s)["kicks"] == kicks, "somebody was kicked who was not inside"
    assert peek(s, COUNTER, "<2Q") == (0, 0)
    s.do("resume touch")
    assert s.until(lambda: all(peek(s, COUNTER, "<2Q"))), "they missed what happened meanwhile"
    now = tlb(s, "other")
    assert (now["kicks"], now["generation"]) == (other["kicks"], other["generation"]), (other, now)
    s.sound()
    s.quit()


@case(beds=ALL, cpus=4, guests=FOUR)
def changes_at_random_under_three_spinning_cpus(s):
    """Changes of all sizes around and under a page that three vCPUs write; after each few of them all three
    must still write what is mapped there now. SEED=N in the environment gives other changes."""
    three_spin(s)
    dice = random.Random(int(os.environ.get("SEED", 1)))
    rounds, few = (20, 8) if s.slow == 1 else (6, 6)
    kicks = tlb(s)["kicks"]
    for _ in range(rounds):
        lines = []
        for _ in range(few):
            at = dice.choice([SPIN_PAGE, 0x400000, SPIN_PAGE - dice.randrange(300) * 4096])
            pages = dice.choice([1, 1, 2, 9, 512, 513, 700])
            what = dice.choice(["map", "unmap", "protect"])
            touched = at <= SPIN_PAGE < at + pages * 4096
            rights = "rwx" if touched else dice.choice(["r", "r-x", "rw", "-"])
            lines.append("%s touch 0x%x+%d %s" % (what, at, pages * 4096,
                                                  "" if what == "unmap" else rights))
        for line, (ok, said) in zip(lines, s.machine.commands(lines, 60 * s.slow)):
            assert ok, (line, said)
        assert s.until(lambda: s.mapped("touch", SPIN_PAGE)), "nobody touches the page any more"
        before = three(s)
        assert moved(s, before), (lines, before, three(s))
    assert tlb(s)["kicks"] >= kicks + rounds, tlb(s)
    s.sound()
    s.do("stop touch")
    assert s.until(lambda: memory(s)["guest"] == memory(s)["stage2-table"] == 0), memory(s)
    s.quit()


# --- guest-virtual addresses --------------------------------------------------------------------

@case(beds=ALL, cpus=1, guests=[("string", "mem=16M"), ("string", "name=other mem=16M")])
def strings_of_ports_are_as_the_cpu_has_them(s):
    """INS and OUTS to memory that the CPU would refuse: the hypervisor does them, the guest cannot tell.
    Two guests take turns on one CPU, each with a CR2 of its own."""
    for name in ("string", "other"):
        s.expect(r"%s\| string: pass \d+ checks" % name)
        s.finished(name)
    s.sound()
    s.quit()


@case(beds=ALL, guests=[("hostile", "name=data mem=16M cmdline=probe=rep-ins"),
                        ("hostile", "name=table mem=16M cmdline=probe=outs-table")])
def strings_of_ports_to_nowhere(s):
    """There is no memory, so there is nothing that a CPU would raise: the guest ends, and is told why."""
    for name, words in (("data", "no memory there"), ("table", "a page table lies where there is no memory")):
        assert s.until(lambda: s.guest(name)["state"] == "stopped"), s.guest(name)
        why = s.guest(name)["why"]
        assert why.startswith("INS or OUTS at linear 0x") and words in why, why
    s.sound()
    s.quit()


@case(beds=ALL, cpus=2, guests=[("touch", "mem=16M cpus=2 cpu=0 \"%s\"" % TOUCH)])
def both_dimensions_are_shown(s):
    """A walk of the console agrees with what the guest's tables say by themselves, and with stage 2."""
    s.expect(r"touch\| touch: done 3 pages")
    regs = s.rows("regs touch")[0]
    rows = s.rows("gva touch 0 0x345678")
    entries, page, accesses = rows[:-7], rows[-7], rows[-6:]
    assert [e["kind"] for e in entries] == ["table", "table", "page"], entries
    table = int(regs["cr3"], 16)
    for e in entries:
        index = 0x345678 >> (12 + 9 * (e["level"] - 1)) & 511
        assert int(e["gpa"], 16) == table + 8 * index, (e, hex(table))
        assert peek(s, table + 8 * index, "<Q")[0] == int(e["raw"], 16), e
        assert e["hpa"] == s.rows("walk touch " + e["gpa"])[-1]["hpa"], e
        table = int(e["to"], 16)
    assert page["gpa"] == "0x345678" and page["page"] == 2 << 20 and page["paging"] == "4-level", page
    assert page["hpa"] == s.rows("walk touch 0x345678")[-1]["hpa"], page
    assert [(a["access"], a["as_user"]) for a in accesses] == \
        [(what, user) for user in (False, True) for what in ("read", "write", "execute")]
    assert all((a["outcome"], a["stage2"], a["cr2"]) == ("allowed", "allowed", None) for a in accesses), accesses
    # Nothing is brought in, nothing marked, by looking.
    assert s.mapped("touch", 0x800000) is None
    rows = s.rows("gva touch 0 0x800000")
    assert rows[-7]["hpa"] is None and rows[-1]["stage2"] == "absent", rows
    s.do("protect touch 0x345000 r-x")
    assert [r["stage2"] for r in s.rows("gva touch 0 0x345678")[-3:]] == ["allowed", "refused", "allowed"]
    assert s.mapped("touch", 0x800000) is None
    # Outside of what its tables have.
    for a in s.rows("gva touch 0 0x180000123")[-6:]:
        error = (2 if a["access"] == "write" else 0) + (16 if a["access"] == "execute" else 0) \
            + (4 if a["as_user"] else 0)
        assert (a["vector"], a["error"], a["cr2"]) == (14, error, "0x180000123"), a
    for a in s.rows("gva touch 0 0x800000000000")[-6:]:
        assert (a["outcome"], a["vector"], a["error"]) == ("fault", 13, 0), a
    # A guest that runs goes on, one that rests does not.
    before = peek(s, COUNTER, "<Q")
    assert s.until(lambda: peek(s, COUNTER, "<Q") != before)
    assert s.rows("gva touch 1 0x600008")[-7]["gpa"] == "0x600008"
    s.do("pause touch")
    s.do("gva touch 0 0x345678")
    assert s.guest("touch")["state"] == "paused"
    for line, word in (("gva touch 2 0", "'2'"), ("gva touch x 0", "'x'"), ("gva touch 0 4q", "4q"),
                       ("gva nobody 0 0", "nobody"), ("gva touch 0", "usage")):
        assert word in s.fails(line), line
    s.sound()
    s.machine.send("quit\n")
    assert not s.machine.wait(30 * s.slow), "failures were forgotten"


MMU = "mem=32M \"cmdline=cases=2000 seed=%s%%s\"" % os.environ.get("SEED", 1)
# What this emulator does not do as a CPU does; see the errata in docs/caveats.md.
MMU_TCG = MMU % " tcg=1"


@case(beds=TCG, guests=[("mmu", MMU_TCG)])
def walks_are_those_of_the_cpu(s):
    """Random tables: INS and OUTS, which the hypervisor walks for, against MOV. SEED=N gives others."""
    s.expect(r"mmu\| mmu: (pass|FAIL)", 240)
    assert "mmu: pass" in s.text(), "walks differ"
    for kind in ("32-bit", "32-bit-PSE", "PAE", "4-level"):
        found = re.search(r"mmu: %s: (\d+) allowed, (\d+) refused, (\d+) over two pages, (\d+) REP, of which "
                          r"(\d+) broke off" % kind, s.text())
        assert found and all(int(n) > 5 for n in found.groups()), (kind, found)
    s.finished("mmu")
    s.sound()
    s.quit()


@case(beds=VMX + SVM + ("qemu-kvm",), guests=[("mmu", MMU % "")])
def walks_are_those_of_other_cpus(s):
    walks_are_those_of_the_cpu(s)


def accesses_agree(said, rows, where):
    """What the CPU has made of six accesses, and what the console says of them."""
    for cpu, row in zip(said.split(), rows[-6:]):
        if row["outcome"] == "allowed":
            hv = "ok"
        else:
            assert row["outcome"] == "fault", (where, row)
            hv = "%x:%x" % (row["vector"], row["error"])
            if row["cr2"] not in (None, where[1]):
                hv += ":" + row["cr2"][2:]
        assert cpu == hv, "%s: %s as %s: the CPU: %s, the console: %s\n%s" % (
            where, row["access"], "user" if row["as_user"] else "supervisor", cpu, hv,
            "\n".join(map(str, rows)))


def console_walks(s):
    """For each set of tables the CPU tries reads, writes and execution; then the guest stays in that mode,
    and the console is asked about the same."""
    allowed, refused, kinds = 0, 0, set()
    s.machine.seen = 0      # it may have begun before the console was ready
    while True:
        before, match = s.machine.expect(
            r"mmu\| mmu: (ask when cr3 is (0x[0-9a-f]+)|pass|FAIL.*)\r?\n", 60 * s.slow)
        if not match.group(2):
            break
        root = match.group(2).decode()
        assert s.until(lambda: s.rows("regs mmu")[0]["cr3"] == root), "it does not wait for us"
        kind = re.findall(r"mmu: set \d+ of (\S+)", before)[-1]
        lines = re.findall(r"mmu: at (0x[0-9a-f]+)((?: \S+){6})$", before, re.M)
        assert len(lines) == 16, before
        answers = s.machine.commands(["gva mmu 0 %s --json" % at for at, _ in lines], 60 * s.slow)
        for (at, said), (ok, rows) in zip(lines, answers):
            rows = [json.loads(r) for r in rows if r.startswith("{")]
            assert ok and rows[-7]["paging"] == kind.replace("-PSE", ""), (kind, rows)
            accesses_agree(said, rows, (kind, at))
            allowed += said.split().count("ok")
            refused += 6 - said.split().count("ok")
        kinds.add(kind)
        s.do("write mmu 0x7000 01000000")
    assert match.group(1) == b"pass", match.group(0)
    assert kinds >= {"32-bit", "32-bit-PSE", "PAE", "4-level"}, kinds
    assert allowed > 100 and refused > 100, (allowed, refused)
    s.finished("mmu")
    s.sound()
    s.quit()


SETS = "mem=32M \"cmdline=cases=0 sets=3 seed=%s%%s\"" % os.environ.get("SEED", 1)


@case(beds=TCG, guests=[("mmu", SETS % " tcg=1")])
def the_console_walks_as_the_cpu(s):
    console_walks(s)


@case(beds=VMX + SVM + ("qemu-kvm",), guests=[("mmu", SETS % "")])
def the_console_walks_as_other_cpus(s):
    console_walks(s)
