#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""`make run`: boots Nestling on a bed, and leaves the user at the console, or runs a script.

run.py --kernel ELF [--bed B] [--cpus N] [--mem MIB] [--firmware bios|uefi] [--model CPU] [--icount]
       [--append WORDS] [--script FILE]
       (--guest FILE [--guest-mem 64M] [--guest-cpus N] [--guest-cmdline TEXT] | FILE LINE ...)
"""
import argparse
import os
import select
import signal
import sys
import tempfile
import termios
import tty

import beds

CTRL_A = 1


class Keys:
    """What the user types, on its way to the serial port: ctrl-a x ends, ctrl-a a sends ctrl-a."""

    def __init__(self):
        self.command = False    # ctrl-a was the last key

    def take(self, data):
        """(bytes for the port, whether the user wants to end)"""
        out = bytearray()
        for key in data:
            if self.command:
                self.command = False
                if key in b"xX":
                    return bytes(out), True
                if key in b"aA\x01":
                    out.append(CTRL_A)
            elif key == CTRL_A:
                self.command = True
            else:
                out.append(key)
        return bytes(out), False


def attach(machine):
    """The user's terminal is the machine's serial port until ctrl-a x, or until the machine ends."""
    print("-- ctrl-a x ends the machine --", flush=True)
    old = termios.tcgetattr(0) if os.isatty(0) else None
    if old:
        tty.setraw(0)
    keys, inputs = Keys(), [0]
    machine.listener(lambda data: os.write(1, data))
    try:
        while machine.talks:
            if not select.select(inputs, [], [], 0.1)[0]:
                continue
            typed = os.read(0, 256)
            if not typed:
                inputs = []
            data, over = keys.take(typed)
            machine.sock.sendall(data)
            if over:
                return
    except OSError:
        return
    finally:
        if old:
            termios.tcsetattr(0, termios.TCSADRAIN, old)
        print()


def read_script(path):
    """The commands of a script: one a line, without blank lines and those that begin with #."""
    try:
        with open(path) as f:
            lines = [l.strip() for l in f]
    except (OSError, UnicodeDecodeError) as e:
        sys.exit("SCRIPT=%s: %s" % (path, getattr(e, "strerror", e)))
    lines = [l for l in lines if l and not l.startswith("#")]
    if "quit" in lines[:-1]:
        sys.exit("SCRIPT=%s: commands after quit" % path)
    return lines if lines[-1:] == ["quit"] else lines + ["quit"]


def run_script(machine, lines):
    """Feeds the commands; True when each succeeded and the machine says so too."""
    print(machine.expect(r"^%ready\r?$", 120)[0], end="", flush=True)
    good = True
    for line in lines[:-1]:
        print("nestling> " + line, flush=True)
        ok, answer = machine.command(line)
        print("".join(l + "\n" for l in answer), end="", flush=True)
        good = good and ok
    print("nestling> " + lines[-1], flush=True)
    machine.send("quit\n")
    passed = machine.wait(60)
    print(machine.rest().strip("\n"), flush=True)
    return passed and good


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--kernel", required=True)
    p.add_argument("--bed", default="auto")
    p.add_argument("--cpus", type=int, default=2, help="CPUs of the machine")
    p.add_argument("--mem", type=int, default=512, help="the machine's memory in MiB")
    p.add_argument("--firmware", default="bios", choices=["bios", "uefi"])
    p.add_argument("--model", help="another CPU model, in the words of the bed's emulator")
    p.add_argument("--icount", action="store_true", help="QEMU: count instructions as time")
    p.add_argument("--append", default="", help="more words for Nestling's command line")
    p.add_argument("--script")
    p.add_argument("--guest")
    p.add_argument("--guest-mem", default="64M")
    p.add_argument("--guest-cpus", default="1")
    p.add_argument("--guest-cmdline", default="")
    p.add_argument("modules", nargs="*", help="FILE LINE ...")
    return p.parse_args()


def guest_modules(a):
    if not a.guest:
        return list(zip(a.modules[::2], a.modules[1::2]))
    if not os.path.isfile(a.guest):
        sys.exit("GUEST=%s: no such file" % a.guest)
    words = ["mem=" + a.guest_mem, "cpus=" + a.guest_cpus]
    return [(a.guest, words + (["cmdline=" + a.guest_cmdline] if a.guest_cmdline else []))]


def choose_bed(a):
    if a.bed != "auto" and a.bed not in beds.BEDS:
        sys.exit("BED=%s: expected auto, %s" % (a.bed, ", ".join(beds.BEDS)))
    bed = beds.choose(a.bed)
    why_not = bed.why_not()
    if why_not:
        sys.exit("bed %s: %s" % (bed.name, why_not))
    return bed


def give_up(number, frame):
    signal.signal(number, signal.SIG_IGN)
    sys.exit(1)


def main():
    a = arguments()
    bed, modules = choose_bed(a), guest_modules(a)
    script = read_script(a.script) if a.script else None
    # Somebody who ends us must not leave an emulator behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, give_up)
    with tempfile.TemporaryDirectory(prefix="nestling-run-") as folder:
        machine = None
        try:
            beds.make_iso(folder + "/run.iso", a.kernel, modules,
                          ("console=script " if script else "") + a.append,
                          slim=a.firmware == "bios")
            print("-- %s, %d CPU%s, %d MiB, %s --" % (bed.name, a.cpus, "s" * (a.cpus != 1), a.mem,
                                                     a.firmware), flush=True)
            machine = bed.start(folder + "/run.iso", cpus=a.cpus, mem=a.mem, firmware=a.firmware,
                                model=a.model, icount=a.icount, seconds=600 if script else 0)
            if script:
                sys.exit(0 if run_script(machine, script) else 1)
            attach(machine)
        except KeyboardInterrupt:
            sys.exit(130)
        except beds.BedError as e:
            sys.exit("error: %s" % e)
        finally:
            if machine:
                machine.close()


if __name__ == "__main__":
    main()
