# SPDX-License-Identifier: MPL-2.0
"""The machine tests: what a user sees, on every bed.

A case gets a Session: the machine, booted with the guests it names, in script mode. It asserts what it
wants to see; whatever it raises is the failure.
"""
import json
import os
import re
import struct

from beds import BedError

ALL = ("qemu-tcg-svm", "bochs-vmx", "qemu-kvm", "bochs-svm")
BOTH = ("qemu-tcg-svm", "bochs-vmx", "qemu-kvm")
TCG = ("qemu-tcg-svm",)
VMX = ("bochs-vmx",)

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

    def __init__(self, machine, slow):
        self.machine = machine
        self.slow = 3 if slow else 1

    def ready(self):
        return self.machine.expect(r"^%ready\r?$", 60 * self.slow)[0]

    def expect(self, pattern, timeout=40):
        return self.machine.await_line(pattern, timeout * self.slow)[1].group(0).decode()

    def text(self):
        return self.machine.log.decode("latin1").replace("\r", "")

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
    for _ in range(400):
        if peek(s, MAILBOX, "<II")[1] != done:
            return peek(s, MAILBOX + 24, "<Q")[0]
        if s.guest("touch")["state"] != "running":
            raise BedError("touch: " + s.guest("touch")["why"])
    raise BedError("touch does not answer")


def stopped_by(s, command, at, value=0):
    """The guest must be stopped for this; the reason."""
    post(s, command, at, value)
    for _ in range(400):
        g = s.guest("touch")
        if g["state"] == "stopped":
            return g["why"]
    raise AssertionError("the guest went on: %s" % g)


# --- the guests ---------------------------------------------------------------------------------

@case(beds=ALL, guests=[("modes", "mem=16M")])
def modes_pass(s):
    s.expect(r"modes\| modes: pass \d+ checks")
    g = s.guest("modes")
    assert (g["state"], g["status"]) == ("done", 0), g
    s.sound()
    s.quit()


@case(beds=TCG + ("qemu-kvm",), guests=[("memtest", "mem=32M")])
def memtest_passes(s):
    s.expect(r"memtest\| memtest: pass .*errors 0", 120)
    assert s.guest("memtest")["status"] == 0
    # All of its memory was touched, and nothing beside it.
    total = sum(r["len"] for r in s.rows("ept memtest"))
    assert total >= (32 << 20) - (64 << 10), total
    assert total <= 32 << 20, total
    s.sound()
    s.quit()


@case(beds=VMX, guests=[("memtest", "mem=16M cmdline=limit=2M")])
def memtest_passes_in_part(s):
    s.expect(r"memtest\| memtest: pass .*errors 0", 120)
    assert s.guest("memtest")["status"] == 0
    s.sound()
    s.quit()


@case(guests=[("memtest", "name=large mem=32M page=2m cmdline=limit=4M")])
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


@case(guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
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


@case(cpus=2, guests=[("touch", "mem=16M cpu=0 \"%s\"" % TOUCH),
                      ("modes", "mem=16M cpu=1"), ])
def two_guests_on_two_cpus(s):
    s.expect(r"modes\| modes: pass")
    assert s.guest("touch")["cpu"] == 0 and s.guest("modes")["cpu"] == 1
    assert ask(s, READ, 0x200000) == 0x200000
    s.sound()
    s.quit()


@case(cpus=1, guests=[("touch", "mem=16M \"%s\"" % TOUCH), ("modes", "name=a mem=16M"),
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


@case(guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def litmus_downgrade(s):
    downgrade(s)


@case(cpus=2, guests=[("touch", "mem=16M cpu=1 \"%s\"" % TOUCH)])
def litmus_downgrade_on_another_cpu(s):
    downgrade(s)


@case(guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def litmus_no_rights(s):
    s.expect(r"touch\| touch: done 3 pages")
    s.do("protect touch 0x345000 -")
    row = s.mapped("touch", 0x345000)
    assert not (row["r"] or row["w"] or row["x"]), row
    why = stopped_by(s, READ, 0x345000)
    assert "read" in why and "0x345000" in why, why
    s.quit()


@case(guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
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


@case(guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
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


COUNTER = 0x600000 + 8


@case(cpus=2, guests=[("touch", "mem=16M cpus=2 cpu=0 \"%s\"" % TOUCH)])
def litmus_remap_under_a_spinning_cpu(s):
    """The second vCPU increments a counter on CPU 1 and never leaves the guest by itself: whatever it
    does after a remap through a stale translation would land in the old frame."""
    s.expect(r"touch\| touch: done 3 pages")
    for _ in range(50):
        if peek(s, COUNTER, "<Q")[0] > 0:
            break
    before = peek(s, COUNTER, "<Q")[0]
    assert before > 0, "the second vCPU does not count"
    s.do("map touch 0x600000 rwx")
    # A fresh page counts from zero. Were the old translation still used, it would stay zero.
    after = [peek(s, COUNTER, "<Q")[0] for _ in range(20)]
    assert 0 < after[-1] and after[0] < after[-1], after
    kicks = [r for r in s.rows("tlb") if r["guest"] == "touch"][0]
    assert kicks["generation"] > 1 and kicks["kicks"] > 0, kicks
    s.sound()
    s.quit()


@case(cpus=2, guests=[("touch", "mem=16M cpus=2 cpu=0 \"%s\"" % TOUCH)])
def litmus_downgrade_under_a_spinning_cpu(s):
    s.expect(r"touch\| touch: done 3 pages")
    for _ in range(50):
        if peek(s, COUNTER, "<Q")[0] > 0:
            break
    s.do("protect touch 0x600000 r-x")
    first = peek(s, COUNTER, "<Q")[0]
    for _ in range(200):
        if s.guest("touch")["state"] == "stopped":
            break
    g = s.guest("touch")
    assert g["state"] == "stopped" and "0x60000" in g["why"] and "r-x" in g["why"], g
    assert peek(s, COUNTER, "<Q")[0] == first, "it was written after the downgrade took effect"
    s.quit()


@case(guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def dirty_and_accessed(s):
    s.expect(r"touch\| touch: done 3 pages")
    first = {r["gpa"] for r in s.rows("dirty touch")}
    assert "0x200000" in first and "0x345000" not in first, first
    ask(s, WRITE, 0x345000, 5)
    again = {r["gpa"] for r in s.rows("dirty touch")}
    assert "0x345000" in again and "0x200000" not in again, again
    s.sound()
    s.quit()


@case(cpus=2, guests=[("touch", "mem=16M cpu=1 \"%s\"" % TOUCH)])
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
    use = {r["use"]: r["bytes"] for r in s.rows("mem")}
    # Everything came back: no guest page and no table of a guest is left.
    for _ in range(20):
        use = {r["use"]: r["bytes"] for r in s.rows("mem")}
        if use["guest"] == use["stage2-table"] == 0:
            break
    assert use["guest"] == use["stage2-table"] == 0, use
    s.sound()
    s.machine.send("quit\n")
    s.machine.wait(30)


@case(guests=[("touch", "mem=16M \"%s\"" % TOUCH)])
def host_memory_for_a_guest(s):
    s.expect(r"touch\| touch: done 3 pages")
    s.do("pause touch")
    with_guest = {r["use"]: r["bytes"] for r in s.rows("mem")}
    touched = s.guest("touch")["touched"]
    s.do("stop touch")
    for _ in range(20):
        without = {r["use"]: r["bytes"] for r in s.rows("mem")}
        if without["stage2-table"] == 0:
            break
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
