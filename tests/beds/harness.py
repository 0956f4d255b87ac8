# SPDX-License-Identifier: MPL-2.0
"""Cases of the harness itself: what it takes for success, and that it leaves nothing behind."""
import os
import pty
import select
import signal
import subprocess
import sys
import time

import beds
from cases import SVM, TCG, TOUCH, VMX, case

RUN = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.py")]


def descendants(pid):
    """The processes that this one has started, and those that they have."""
    found = []
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            children = [int(c) for c in f.read().split()]
    except FileNotFoundError:
        return found
    for c in children:
        found += [c] + descendants(c)
    return found


def emulators(pid):
    """Those of them that are QEMU or Bochs."""
    names = {p: beds.read("/proc/%d/comm" % p).strip() for p in descendants(pid)}
    return [p for p, name in names.items() if name.startswith(("qemu", "bochs"))]


def gone(pids, seconds=10):
    limit = time.monotonic() + seconds
    while any(os.path.exists("/proc/%d" % p) for p in pids):
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def run_command(s, *more):
    return RUN + ["--kernel", s.args.kernel, "--bed", s.bed, "--cpus", "1", "--mem", "128",
                  *more, s.args.guests + "/touch.elf", "mem=16M \"%s\"" % TOUCH]


def run_script(s, text):
    with open(s.folder + "/script", "w") as f:
        f.write(text)
    done = subprocess.run(run_command(s, "--script", f.name), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    return done.returncode, done.stdout.decode("latin1")


@case(beds=TCG + VMX, alone=True)
def scripts_tell_the_truth(s):
    status, text = run_script(s, "# looks\n\nguests\nwalk touch 0x7000\n")
    assert status == 0 and "1 vCPU on CPU 0" in text and "level 4" in text, text
    assert "nestling> walk touch 0x7000\n" in text and text.endswith("power off: PASS\n"), text
    status, text = run_script(s, "guests\nwalk nobody 0\nmem\nquit\n")
    assert status == 1 and "nobody" in text and "metadata" in text, text
    status, text = run_script(s, "quit\nguests\n")
    assert status == 1 and "commands after quit" in text, text


class Terminal:
    """`make run` as a user at a terminal sees it. Its temporary files are in `folder`."""

    def __init__(self, command, folder):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(command[0], command, dict(os.environ, TMPDIR=folder))
        self.text, self.seen = b"", 0

    def sees(self, what, seconds=60):
        limit = time.monotonic() + seconds
        while what not in self.text[self.seen:]:
            assert time.monotonic() < limit, "no %r in %r" % (what, self.text[self.seen:])
            if select.select([self.fd], [], [], 0.2)[0]:
                self.text += os.read(self.fd, 4096)
        self.seen = self.text.index(what, self.seen) + len(what)

    def types(self, keys):
        os.write(self.fd, keys)

    def status(self, seconds=20):
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            try:
                if select.select([self.fd], [], [], 0.1)[0]:
                    self.text += os.read(self.fd, 4096)
            except OSError:
                pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("it does not end: %r" % self.text)

    def kill(self, number=signal.SIGKILL):
        try:
            os.kill(self.pid, number)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


@case(beds=TCG + VMX + SVM, alone=True)
def a_terminal(s):
    t = Terminal(run_command(s), s.folder)
    try:
        t.sees(b"ctrl-a x ends")
        t.sees(b"touch: done 3 pages")
        # ctrl-a a is the line editor's "to the beginning": g goes before uests.
        t.types(b"uests\x01ag\x05\r")
        t.sees(b"1 vCPU on CPU 0")
        t.sees(b"nestling> ")
        running = descendants(t.pid)
        assert emulators(t.pid), running
        t.types(b"mem\x01x")
        assert t.status() == 0
        assert gone(running), "an emulator is left"
        assert os.listdir(s.folder) == [], os.listdir(s.folder)
    finally:
        t.kill()


@case(beds=TCG + VMX, alone=True)
def quit_at_a_terminal(s):
    t = Terminal(run_command(s), s.folder)
    try:
        t.sees(b"nestling> ")
        t.types(b"quit\r")
        assert t.status() == 0
    finally:
        t.kill()


def ended_by(s, number):
    t = Terminal(run_command(s), s.folder)
    try:
        t.sees(b"nestling> ")
        running = descendants(t.pid)
        assert emulators(t.pid), running
        t.kill(number)
    finally:
        t.kill()
    assert gone(running), "an emulator is left"


@case(beds=TCG + VMX, alone=True)
def ended_with_all_that_it_started(s):
    ended_by(s, signal.SIGTERM)
    assert os.listdir(s.folder) == [], os.listdir(s.folder)


@case(beds=TCG + VMX, alone=True)
def killed_with_all_that_it_started(s):
    ended_by(s, signal.SIGKILL)


@case(beds=TCG, guests=[("modes", "mem=16M")])
def a_reset_is_no_pass(s):
    s.machine.monitor("system_reset")
    assert not s.machine.wait(20), "a reset counts as success"
    assert s.machine.process.returncode == 0, "this tests nothing: a reset shows in the status"


@case(beds=VMX, guests=[("modes", "mem=16M")])
def a_debugger_prompt_is_no_pass(s):
    bochs = emulators(s.machine.process.pid) or [s.machine.process.pid]
    os.kill(bochs[0], signal.SIGINT)
    assert not s.machine.wait(20), "leaving through the debugger counts as success"
    assert s.machine.process.returncode == 0, "this tests nothing: it shows in the status"


@case(beds=TCG + VMX, alone=True)
def silence_ends(s):
    """What is no hypervisor never gets ready; the wait for it ends, and so does the emulator by itself."""
    beds.make_iso(s.folder + "/silent.iso", s.args.guests + "/modes.elf", [])
    machine = beds.BEDS[s.bed].start(s.folder + "/silent.iso", mem=128, seconds=6)
    try:
        began = time.monotonic()
        try:
            machine.expect(r"^%ready", 2)
            raise AssertionError("a guest's image boots as Nestling")
        except beds.BedError as e:
            assert "no '^%ready' within 2 s" in str(e), e
        assert not machine.wait(20)
        assert time.monotonic() - began < 15
    finally:
        machine.close()
    assert not os.path.exists(machine.folder)
