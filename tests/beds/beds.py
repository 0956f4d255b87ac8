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
import shutil
import signal
import socket
import subprocess
import tempfile
import time

OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
QEMU = "qemu-system-x86_64"
QEMU_PASS, QEMU_FAIL = 33, 35
PASS_LINE = b"nestling: power off: PASS"


class BedError(Exception):
    """The machine did not do what every machine must: start, answer in time, end."""


class Machine:
    def __init__(self, process, sock, folder, qemu, monitor=None):
        self.process, self.sock, self.folder, self.qemu = process, sock, folder, qemu
        self.monitor_path = monitor
        self.log = b""      # everything that the port said
        self.seen = 0       # how far expect() has read
        sock.settimeout(0.2)

    def pump(self):
        """Takes what the port says; False when it has ended."""
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            return True
        except OSError:
            return False
        self.log += data
        return bool(data)

    def expect(self, pattern, timeout):
        """Waits for a line that matches; returns what came before it and the match."""
        end = time.monotonic() + timeout
        regex = re.compile(pattern.encode(), re.M)
        alive = True
        while True:
            match = regex.search(self.log, self.seen)
            if match:
                before = self.log[self.seen:match.start()].decode("latin1").replace("\r", "")
                self.seen = match.end()
                return before, match
            if not alive or time.monotonic() > end:
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
        self.send(line + "\n")
        before, match = self.expect(r"^%(ok|error)\r?$", timeout)
        return match.group(1) == b"ok", before.strip("\n").split("\n") if before.strip() else []

    def wait(self, timeout):
        """Waits for the end; True when the machine said that it passed."""
        end = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < end:
            if not self.pump():
                time.sleep(0.05)
        if self.process.poll() is None:
            raise BedError("the machine does not end")
        while self.pump() and not self.log.rstrip().endswith(PASS_LINE):
            pass
        if self.qemu:
            return self.process.returncode == QEMU_PASS
        return self.process.returncode == 0 and PASS_LINE in self.log

    def monitor(self, line):
        """A line for QEMU's monitor, and its answer."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.monitor_path)
            s.settimeout(10)
            text = b""
            while not text.endswith(b"(qemu) "):
                text += s.recv(65536)
            s.sendall(line.encode() + b"\n")
            text = b""
            while not text.endswith(b"(qemu) "):
                text += s.recv(65536)
        return text.decode("latin1").replace("\r", "")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.sock.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def connect(make, process, timeout):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            return make()
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
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

    def start(self, iso, cpus=1, mem=512, firmware="bios", model=None, icount=False):
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
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=open(folder + "/stderr", "w"), start_new_session=True)
        try:
            sock = connect(lambda: unix(serial), process, 20)
        except BedError:
            process.kill()
            text = open(folder + "/stderr").read()
            shutil.rmtree(folder, ignore_errors=True)
            raise BedError("QEMU: " + text)
        return Machine(process, sock, folder, True, monitor)


KVM_GET_API_VERSION, KVM_GET_SUPPORTED_CPUID = 0xAE00, 0xC008AE05


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


BOCHSRC = """\
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1, gameport=0, iodebug=1
config_interface: textconfig
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/vgabios/vgabios.bin
memory: guest={mem}, host={mem}
cpu: model={model}, count={cpus}, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=0
boot: cdrom
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path={iso}, status=inserted
clock: sync=none, time0=946681200
com1: enabled=1, mode=socket-server, dev=localhost:{port}
port_e9_hack: enabled=1
pci: enabled=1, chipset=i440fx
vga: extension=vbe, update_freq=1
log: {folder}/bochs.log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
debugger_log: -
mouse: enabled=0
"""


class Bochs:
    kind = "bochs"

    def __init__(self, name, model):
        self.name, self.model = name, model

    def why_not(self):
        return None if shutil.which("bochs") else "bochs is not installed"

    def start(self, iso, cpus=1, mem=256, firmware="bios", model=None, icount=False):
        if firmware != "bios":
            raise BedError("Bochs has no UEFI here: its ROM is limited to 512 KiB")
        folder = tempfile.mkdtemp(prefix="nestling-bed-")
        port = free_port()
        with open(folder + "/bochsrc", "w") as f:
            f.write(BOCHSRC.format(mem=min(mem, 512), model=model or self.model, cpus=cpus,
                                   ips=4000000, iso=os.path.abspath(iso), port=port,
                                   folder=folder))
        # The debugger that this binary starts with is told to go on, and to quit when it is back.
        with open(folder + "/rc", "w") as f:
            f.write("c\nq\n")
        process = subprocess.Popen(["bochs", "-q", "-f", folder + "/bochsrc", "-rc", folder + "/rc"],
                                   stdin=subprocess.DEVNULL, stdout=open(folder + "/out", "w"),
                                   stderr=subprocess.STDOUT, start_new_session=True,
                                   env=dict(os.environ, TERM="dumb"))
        try:
            sock = connect(lambda: socket.create_connection(("127.0.0.1", port), 2), process, 20)
        except BedError:
            process.kill()
            text = open(folder + "/out").read()[-2000:]
            shutil.rmtree(folder, ignore_errors=True)
            raise BedError("Bochs: " + text)
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


def make_iso(path, kernel, modules, cmdline="", slim=True, here=os.path.dirname(__file__)):
    """An ISO that boots `kernel` with the modules [(file, line), ...]."""
    folder = tempfile.mkdtemp(prefix="nestling-iso-")
    try:
        lines = ["set timeout=0", 'menuentry "Nestling" {',
                 "\tmultiboot2 /boot/nestling.elf " + cmdline]
        files = []
        for file, line in modules:
            lines.append("\tmodule2 /guests/%s %s %s" % (os.path.basename(file),
                                                         os.path.basename(file), line))
            if file not in files:
                files.append(file)
        lines += ["\tboot", "}", ""]
        with open(folder + "/grub.cfg", "w") as f:
            f.write("\n".join(lines))
        subprocess.run(["bash", os.path.join(here, "../../configs/mkiso.sh"), kernel,
                        folder + "/grub.cfg", path] + files, check=True,
                       env=dict(os.environ, SLIM="1" if slim else "0"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
