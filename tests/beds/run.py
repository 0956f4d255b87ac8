#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""`make run`: boots Nestling on a bed, and leaves the user at the console, or runs a script.

run.py --kernel ELF [--bed B] [--cpus N] [--mem MIB] [--firmware bios|uefi] [--script FILE]
       MODULE-FILE LINE [MODULE-FILE LINE ...]
"""
import argparse
import os
import select
import sys
import tempfile
import termios
import tty

import beds

CTRL_A = b"\x01"


def attach(machine):
    """The user's terminal is the machine's serial port until ctrl-a x, or until the machine ends."""
    print("-- ctrl-a x ends the machine --")
    old = termios.tcgetattr(0) if os.isatty(0) else None
    if old:
        tty.setraw(0)
    machine.sock.settimeout(None)
    command = False
    inputs = [0, machine.sock]
    try:
        while True:
            ready = select.select(inputs, [], [], 1)[0]
            if machine.sock in ready:
                data = machine.sock.recv(4096)
                if not data:
                    return
                machine.log += data
                os.write(1, data)
            if 0 in ready:
                data = os.read(0, 256)
                if not data:
                    inputs.remove(0)
                if command and data[:1] == b"x":
                    return
                command = data == CTRL_A
                if not command:
                    machine.sock.sendall(data)
            if not ready and machine.process.poll() is not None:
                return
    except (ConnectionError, OSError):
        return
    finally:
        if old:
            termios.tcsetattr(0, termios.TCSADRAIN, old)
        print()


def run_script(machine, path):
    """Feeds the commands; True when each succeeded and the machine says so too."""
    lines = [l.strip() for l in open(path)]
    lines = [l for l in lines if l and not l.startswith("#")]
    if "quit" not in lines:
        lines.append("quit")
    print(machine.expect(r"^%ready\r?$", 120)[0], end="")
    good = True
    for line in lines:
        print("nestling> " + line)
        if line == "quit":
            machine.send("quit\n")
            return machine.wait(60) and good
        ok, answer = machine.command(line)
        print("\n".join(answer))
        good = good and ok
    return good


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--kernel", required=True)
    p.add_argument("--bed", default="auto")
    p.add_argument("--cpus", type=int, default=2)
    p.add_argument("--mem", type=int, default=512)
    p.add_argument("--firmware", default="bios", choices=["bios", "uefi"])
    p.add_argument("--script")
    p.add_argument("--append", default="", help="more words for Nestling's command line")
    p.add_argument("modules", nargs="*")
    a = p.parse_args()
    if a.bed != "auto" and a.bed not in beds.BEDS:
        sys.exit("BED=%s: expected auto, %s" % (a.bed, ", ".join(beds.BEDS)))
    bed = beds.choose(a.bed)
    why_not = bed.why_not()
    if why_not:
        sys.exit("bed %s: %s" % (bed.name, why_not))
    modules = list(zip(a.modules[::2], a.modules[1::2]))
    for file, _ in modules:
        if not os.path.exists(file):
            sys.exit("%s: no such guest image" % file)
    with tempfile.TemporaryDirectory(prefix="nestling-run-") as folder:
        iso = folder + "/run.iso"
        beds.make_iso(iso, a.kernel, modules, ("console=script " if a.script else "") + a.append,
                      slim=a.firmware == "bios")
        print("-- %s, %d CPU%s, %d MiB, %s --" % (bed.name, a.cpus, "s" * (a.cpus != 1), a.mem,
                                                 a.firmware))
        try:
            machine = bed.start(iso, cpus=a.cpus, mem=a.mem, firmware=a.firmware)
        except beds.BedError as e:
            sys.exit(str(e))
        try:
            if a.script:
                sys.exit(0 if run_script(machine, a.script) else 1)
            attach(machine)
        except beds.BedError as e:
            sys.exit("error: %s" % e)
        finally:
            machine.close()


if __name__ == "__main__":
    main()
