# SPDX-License-Identifier: MPL-2.0
"""The machines that Nestling runs on here: QEMU and Bochs, started, talked to, ended.

A Bed is one kind of machine. bed.start(iso, ...) gives a Machine: a process and its first serial
port as a socket. Nothing here knows what is said over the port but Machine.command, which speaks the
console's script mode.
"""
import ctypes
import fcntl
import os
import re
import shlex
import shutil
import signal
import socket
import string
import subprocess
import tempfile
import threading
import time

CONFIGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../configs")
OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
QEMU = "qemu-system-x86_64"
QEMU_PASS, QEMU_FAIL = 33, 35
PASS_LINE = b"nestling: power off: PASS"


class BedError(Exception):
    """The machine did not do what every machine must: start, answer in time, end."""


LIVE = set()    # the machines that run


def bounded(args, seconds):
    """The command with an end: after so many seconds (0: none), or when this program dies, however."""
    with_us = ["setpriv", "--pdeathsig", "KILL"]
    return with_us + ["timeout", "-s", "KILL", str(seconds)] + with_us + args


def end(process):
    """Ends a process that launch() started, and those that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def end_all():
    for machine in list(LIVE):
        end(machine.process)


def launch(args, seconds, output):
    with open(output, "w") as f:
        return subprocess.Popen(bounded(args, seconds), stdin=subprocess.DEVNULL, stdout=f,
                                stderr=subprocess.STDOUT, start_new_session=True,
                                env=dict(os.environ, TERM="dumb"))


def read(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


class Machine:
    def __init__(self, process, sock, folder, qemu, monitor=None):
        self.process, self.sock, self.folder, self.qemu = process, sock, folder, qemu
        self.monitor_path = monitor
        self.log = b""      # everything that the port said
        self.seen = 0       # how far expect() has read
        self.taken = 0      # how much there was after the last pump()
        self.talks = True   # the port has not ended
        self.hear = None    # called with what it says, where somebody listens
        self.news = threading.Condition()
        sock.settimeout(None)
        LIVE.add(self)
        # Always read: QEMU throws away what a port says to somebody who does not listen.
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        data = b"?"
        while data:
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            with self.news:
                self.log += data
                try:
                    if self.hear and data:
                        self.hear(data)
                except OSError:
                    data = b""
                self.talks = bool(data)
                self.news.notify_all()

    def listener(self, hear):
        """hear(bytes) is called with all that was said and with what will be."""
        with self.news:
            hear(self.log)
            self.hear = hear

    def pump(self):
        """Waits a moment for more; False when all is there."""
        with self.news:
            if self.talks and len(self.log) == self.taken:
                self.news.wait(0.2)
            more, self.taken = len(self.log) > self.taken, len(self.log)
            return self.talks or more

    def expect(self, pattern, timeout):
        """Waits for a line that matches; returns what came before it and the match."""
        limit = time.monotonic() + timeout
        regex = re.compile(pattern.encode(), re.M)
        alive = True
        while True:
            match = regex.search(self.log, self.seen)
            if match:
                before = self.log[self.seen:match.start()].decode("latin1").replace("\r", "")
                self.seen = match.end()
                return before, match
            if not alive or time.monotonic() > limit:
                tail = self.log[-1500:].decode("latin1")
                raise BedError("no '%s' within %d s; the port's last words:\n%s"
                               % (pattern, timeout, tail))
            alive = self.pump()

    def await_line(self, pattern, timeout):
        """Waits for text that matches, from the beginning on, without using it up."""
        seen, self.seen = self.seen, 0
        try:
            return self.expect(pattern, timeout)
        finally:
            self.seen = seen

    def send(self, text):
        self.sock.sendall(text.encode())

    def command(self, line, timeout=60):
        """One console command in script mode: (did it succeed, its lines)."""
        return self.commands([line], timeout)[0]

    def commands(self, lines, timeout=60):
        """The same for several that are sent at once: as little as can be passes between them."""
        self.send("".join(line + "\n" for line in lines))
        answers = []
        for _ in lines:
            before, match = self.expect(r"^%(ok|error)\r?$", timeout)
            answers.append((match.group(1) == b"ok",
                            before.strip("\n").split("\n") if before.strip() else []))
        return answers

    def wait(self, timeout):
        """Waits for the end; True when the machine said that it passed."""
        limit = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < limit:
            if not self.pump():
                time.sleep(0.02)
        if self.process.poll() is None:
            raise BedError("the machine does not end")
        while self.pump():
            pass
        if self.qemu:
            return self.process.returncode == QEMU_PASS
        return self.process.returncode == 0 and PASS_LINE in self.log

    def rest(self):
        """What the port said since the last expect()."""
        return self.log[self.seen:].decode("latin1").replace("\r", "")

    def monitor(self, line):
        """A line for QEMU's monitor, and its answer."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.monitor_path)
            s.settimeout(10)
            self.monitor_answer(s)
            s.sendall(line.encode() + b"\n")
            return self.monitor_answer(s)

    @staticmethod
    def monitor_answer(s):
        text = b""
        while not text.endswith(b"(qemu) "):
            data = s.recv(65536)
            text += data
            if not data:
                break
        return text.decode("latin1").replace("\r", "")

    def close(self):
        end(self.process)
        LIVE.discard(self)
        with self.news:
            self.news.wait_for(lambda: not self.talks, 5)
        self.sock.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def connect(make, process, timeout):
    """A socket from make(), as soon as the emulator has made the other end."""
    limit = time.monotonic() + timeout
    while time.monotonic() < limit and process.poll() is None:
        try:
            return make()
        except OSError:
            time.sleep(0.02)
    raise BedError("the emulator did not come up (status %s)" % process.poll())


def unix(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Qemu:
    kind = "qemu"

    def __init__(self, name, accel, cpu):
        self.name, self.accel, self.cpu = name, accel, cpu

    def why_not(self):
        """None when this machine can run it, else the reason."""
        if shutil.which(QEMU) is None:
            return "%s is not installed" % QEMU
        return None

    def start(self, iso, cpus=1, mem=512, firmware="bios", model=None, icount=False, seconds=600):
        """Boots the ISO: `mem` in MiB, `seconds` to live (0: until somebody ends it)."""
        folder = tempfile.mkdtemp(prefix="nestling-bed-")
        serial, monitor = folder + "/serial", folder + "/monitor"
        args = [QEMU, "-accel", self.accel, "-cpu", model or self.cpu, "-m", str(mem),
                "-smp", str(cpus), "-nic", "none", "-display", "none",
                "-monitor", "unix:%s,server=on,wait=off" % monitor,
                "-serial", "unix:%s,server=on,wait=on" % serial, "-no-reboot",
                "-action", "panic=exit-failure",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        if icount:
            args += ["-icount", "shift=0,sleep=off", "-rtc", "base=2020-01-01,clock=vm"]
        if firmware == "uefi":
            shutil.copy(OVMF_VARS, folder + "/vars.fd")
            args += ["-machine", "q35", "-drive",
                     "if=pflash,format=raw,unit=0,readonly=on,file=" + OVMF_CODE, "-drive",
                     "if=pflash,format=raw,unit=1,file=%s/vars.fd" % folder]
        args += ["-cdrom", iso]
        process = launch(args, seconds, folder + "/out")
        try:
            sock = connect(lambda: unix(serial), process, 30)
        except BedError as e:
            end(process)
            text = read(folder + "/out")
            shutil.rmtree(folder, ignore_errors=True)
            raise BedError("QEMU: %s\n%s" % (e, text))
        return Machine(process, sock, folder, True, monitor)


KVM_GET_SUPPORTED_CPUID = 0xC008AE05


class CpuidEntry(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint32) for n in
                ("function", "index", "flags", "eax", "ebx", "ecx", "edx", "p0", "p1", "p2")]


class CpuidTable(ctypes.Structure):
    _fields_ = [("nent", ctypes.c_uint32), ("padding", ctypes.c_uint32),
                ("entries", CpuidEntry * 256)]


def kvm_nested():
    """What KVM itself says: (can it nest, why not). The device alone proves nothing."""
    try:
        fd = os.open("/dev/kvm", os.O_RDWR)
    except OSError as e:
        return False, "/dev/kvm: %s" % e.strerror
    try:
        table = CpuidTable(nent=256)
        fcntl.ioctl(fd, KVM_GET_SUPPORTED_CPUID, table)
    except OSError as e:
        return False, "KVM does not tell its CPU features: %s" % e.strerror
    finally:
        os.close(fd)
    for e in table.entries[:table.nent]:
        if (e.function == 1 and e.ecx >> 5 & 1) or (e.function == 0x80000001 and e.ecx >> 2 & 1):
            return True, None
    return False, "KVM offers its guests neither VT-x nor AMD-V: no nested virtualization here"


class QemuKvm(Qemu):
    def why_not(self):
        return Qemu.why_not(self) or kvm_nested()[1]


class PortTaken(Exception):
    pass


class Bochs:
    kind = "bochs"

    def __init__(self, name, model):
        self.name, self.model = name, model

    def why_not(self):
        return None if shutil.which("bochs") else "bochs is not installed"

    def start(self, iso, cpus=1, mem=256, firmware="bios", model=None, icount=False, seconds=600,
              debug=()):
        """As Qemu.start; `debug`: commands for Bochs's debugger before it lets the machine go."""
        if firmware != "bios":
            raise BedError("Bochs has no UEFI here (its ROM is limited to 512 KiB): "
                           "use BED=qemu-tcg-svm, or FIRMWARE=bios")
        for attempt in range(5):
            try:
                return self.attempt(iso, cpus, mem, model or self.model, seconds, debug)
            except PortTaken:
                pass
        raise BedError("Bochs: no free port on localhost for its serial port")

    def attempt(self, iso, cpus, mem, model, seconds, debug):
        folder = tempfile.mkdtemp(prefix="nestling-bed-")
        port = free_port()
        with open(os.path.join(CONFIGS, "beds/bochsrc")) as f:
            rc = string.Template(f.read())
        with open(folder + "/bochsrc", "w") as f:
            f.write(rc.substitute(MEM=mem, HOST_MEM=min(mem, 2048), MODEL=model, CPUS=cpus,
                                  ISO=os.path.abspath(iso), PORT=port, FOLDER=folder))
        # This binary starts in its debugger: it is told to go on, and to quit when it is back.
        with open(folder + "/rc", "w") as f:
            f.write("\n".join(list(debug) + ["c", "q", ""]))
        process = launch(["bochs", "-q", "-f", folder + "/bochsrc", "-rc", folder + "/rc"], seconds,
                         folder + "/out")

        def ours():
            # Somebody else may have taken the port meanwhile: connect when Bochs says it listens.
            if "waiting for client to connect (host:localhost, port:%d" % port not in \
                    read(folder + "/out"):
                raise OSError
            return socket.create_connection(("127.0.0.1", port), 2)

        try:
            sock = connect(ours, process, 30)
        except BedError as e:
            end(process)
            text = read(folder + "/bochs.log") + read(folder + "/out")
            shutil.rmtree(folder, ignore_errors=True)
            if "bind() or listen() failed" in text:
                raise PortTaken
            raise BedError("Bochs: %s\n%s" % (e, text[-2000:]))
        return Machine(process, sock, folder, False)


BEDS = {b.name: b for b in (
    Qemu("qemu-tcg-svm", "tcg", "max,+svm,+npt"),
    Bochs("bochs-vmx", "corei7_skylake_x"),
    QemuKvm("qemu-kvm", "kvm", "host"),
    Bochs("bochs-svm", "ryzen"),
)}

# These two run everywhere: not being able to is a failure, not a reason to skip.
REQUIRED = ("qemu-tcg-svm", "bochs-vmx")


def choose(name):
    if name != "auto":
        return BEDS[name]
    return BEDS["qemu-kvm"] if BEDS["qemu-kvm"].why_not() is None else BEDS["qemu-tcg-svm"]


def quoted(word):
    """The word for GRUB's script language, whatever is in it."""
    return "'%s'" % word.replace("'", "'\\''") if re.search(r"[^\w./:=,+-]", word) else word


# An image that GRUB does not find must not go unnoticed: an empty one takes its place, which
# Nestling refuses by name.
MENU = """\
set timeout=0
function guest {
	if module2 "/guests/$1" "$@"; then
		set found=yes
	else
		module2 /boot/absent "$@"
	fi
}
menuentry "Nestling" {
	multiboot2 /boot/nestling.elf %s
%s
	boot
}
"""


def make_iso(path, kernel, modules, cmdline="", slim=True, files=None):
    """An ISO that boots `kernel` with the modules [(file, line), ...], a line being text or a list of
    words; it holds their files, or `files` instead."""
    folder = tempfile.mkdtemp(prefix="nestling-iso-")
    try:
        lines = ["\tguest " + " ".join(quoted(w) for w in [os.path.basename(file)] +
                                       (shlex.split(line) if isinstance(line, str) else line))
                 for file, line in modules]
        with open(folder + "/grub.cfg", "w") as f:
            f.write(MENU % (cmdline, "\n".join(lines)))
        if files is None:
            files = list(dict.fromkeys(file for file, _ in modules))
        subprocess.run(["bash", os.path.join(CONFIGS, "mkiso.sh"), kernel, folder + "/grub.cfg",
                        path] + files, check=True, env=dict(os.environ, SLIM="1" if slim else "0"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
